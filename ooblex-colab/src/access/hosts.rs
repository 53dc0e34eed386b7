//! Under which names the server may be addressed.
//!
//! A page of another site can have its own name point to this machine (DNS rebinding); the browser then takes the
//! server for a part of that site. It cannot choose the name that the browser says, so unknown names are refused.
//! Addresses in digits cannot be rebound and are allowed.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, header};
use ooblex_http::Problem;

use crate::config::Config;

/// Names by which Colab's own proxy addresses the server. Nobody else can have them point anywhere.
const OF_COLAB: [&str; 2] = [".googleusercontent.com", ".colab.dev"];

/// Names of tunnels that are remembered. A page that came by the one before last still works; older names may be
/// somebody else's by now.
const MOST_OF_TUNNELS: usize = 4;

/// The names of one server. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Arc<Names>);

#[derive(Debug)]
struct Names {
    fixed: Vec<String>,
    /// Newest last.
    of_tunnels: RwLock<VecDeque<String>>,
}

impl Hosts {
    pub(crate) fn new(config: &Config) -> Self {
        let fixed = ["localhost", ".localhost"].into_iter().chain(OF_COLAB).map(str::to_owned);
        let own = config.allowed_hosts.iter().map(|host| host.as_str().to_owned());
        Self(Arc::new(Names { fixed: fixed.chain(own).collect(), of_tunnels: RwLock::default() }))
    }

    /// Allows the name of a tunnel, with or without a port, until it has had as many others as are remembered.
    pub(crate) fn allow(&self, host: &str) {
        let host = name_of(host);
        let mut names = self.0.of_tunnels.write().unwrap_or_else(PoisonError::into_inner);
        names.retain(|name| *name != host);
        names.push_back(host);
        while names.len() > MOST_OF_TUNNELS {
            names.pop_front();
        }
    }

    /// Whether a request may be addressed like this. One without a name comes from no browser.
    ///
    /// # Errors
    /// 403 with the name.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(value) = headers.get(header::HOST) else { return Ok(()) };
        let host = value.to_str().map_or_else(|_| "?".to_owned(), name_of);
        if host.is_empty() || is_address(&host) || self.has(&host) {
            return Ok(());
        }
        let detail = format!("this server does not answer as {host}; allow it by the setting allowed_hosts");
        Err(Problem::new(403, "host_not_allowed", detail).field("host").value(host.as_str()))
    }

    fn has(&self, host: &str) -> bool {
        let is_fixed = self.0.fixed.iter().any(|name| match name.starts_with('.') {
            true => host.ends_with(name.as_str()),
            false => host == name,
        });
        is_fixed
            || self
                .0
                .of_tunnels
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|name| host == name)
    }
}

/// The name in `NAME:PORT`, lowercase, without the dot that may end it.
fn name_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        // Not within an address of version 6.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !authority.ends_with(']') => host,
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    host.parse::<Ipv4Addr>().is_ok() || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_others_are_refused() {
        let config = Config {
            allowed_hosts: ["Cam.Example", ".lan.example"].map(|h| h.parse().expect("a host")).to_vec(),
            ..Config::default()
        };
        let hosts = Hosts::new(&config);
        let ask = |host: &'static str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            hosts.check(&headers)
        };
        for good in [
            "localhost",
            "LOCALHOST:8081",
            "a.localhost:1",
            "127.0.0.1:8081",
            "192.0.2.7",
            "[::1]:8081",
            "cam.example:443",
            "cam.example.",
            "x.lan.example",
            "abc-8081.colab.googleusercontent.com",
            "8081-m-s-1.us-east1-0.prod.colab.dev",
        ] {
            assert!(ask(good).is_ok(), "{good}");
        }
        for bad in [
            "evil.example",
            "cam.example.evil.example",
            "xcam.example",
            "lan.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "evilgoogleusercontent.com",
            "tunnel.example:443",
        ] {
            let problem = ask(bad).expect_err(bad);
            assert_eq!((problem.status().as_u16(), problem.code()), (403, "host_not_allowed"));
        }
        assert!(hosts.check(&HeaderMap::new()).is_ok());
        hosts.clone().allow("Tunnel.example");
        assert!(ask("tunnel.example:443").is_ok());
    }

    #[test]
    fn of_the_names_of_tunnels_the_newest_are_remembered() {
        let hosts = Hosts::new(&Config {
            allowed_hosts: vec!["cam.example".parse().expect("a host")],
            ..Config::default()
        });
        let has = |n: usize| hosts.has(&format!("t{n}.example"));
        (0..100).for_each(|n| hosts.allow(&format!("t{n}.example:443")));
        assert_eq!((0..100).filter(|n| has(*n)).collect::<Vec<_>>(), [96, 97, 98, 99]);
        // One that comes back is the newest again.
        hosts.allow("t96.example");
        hosts.allow("t100.example");
        assert!(has(96) && has(100) && !has(97));
        assert!(hosts.has("cam.example") && hosts.has("localhost"), "those of the settings stay");
    }
}
