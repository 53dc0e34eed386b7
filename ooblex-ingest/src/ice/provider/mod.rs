//! Where servers and their credentials come from.

mod coturn;
mod http;
mod list;
mod report;
mod schedule;
mod spec;

pub use self::coturn::Coturn;
pub use self::http::{FetchError, HttpProvider};
pub use self::list::{IceList, ListError, MAX_BYTES, MAX_SERVERS};
pub use self::report::{ProviderReport, ProviderState};
pub(crate) use self::schedule::Schedule;
pub use self::spec::{ProviderSpec, SpecError};
