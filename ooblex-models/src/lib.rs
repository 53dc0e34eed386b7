//! Ooblex models.
