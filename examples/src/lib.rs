//! Examples of Ooblex; see the `[[example]]` targets.
