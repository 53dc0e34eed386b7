//! Ooblex ingest.
