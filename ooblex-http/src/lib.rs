//! What every HTTP route of Ooblex shares: [`Problem`] documents for errors.
//!
//! It exists beside `ooblex-ingest` and `ooblex-mjpeg` because both serve routes and must not depend on each other.

mod problem;

pub use problem::Problem;
