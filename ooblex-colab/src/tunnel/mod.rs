//! Tunnels: how the server is reached from outside without a port that is open to the world.
//!
//! ```text
//! public URL -> provider -> its client here -> front -> the server's listener for tunnels
//! ```
//!
//! A [provider] opens the tunnel; [supervise](supervisor) keeps it open and tells what becomes of it; the [front]
//! counts and slows what passes, as the [governor] has it; the [probe] finds out what passes at all. A server whose tunnel
//! is away goes on serving locally.

mod child;
mod cloudflared;
mod command;
mod die_with_parent;
#[cfg(feature = "fetch")]
pub(crate) mod fetch;
mod front;
mod governor;
mod ledger;
#[cfg(feature = "ngrok")]
mod ngrok;
mod output;
mod probe;
mod probe_client;
mod program;
mod provider;
mod service;
mod ssh;
mod state;
mod supervisor;

pub(crate) use self::ledger::Count;
pub(crate) use self::probe::{Answer, Step};
pub(crate) use self::provider::{Limits, ready};
pub(crate) use self::service::Service;
pub(crate) use self::state::{Measure, OPENING, Phase, Report, TunnelHub};
