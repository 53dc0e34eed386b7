//! Under which names the server may be addressed.
//!
//! A page of another site can have its own name point to this machine (DNS rebinding); the browser then takes the
//! server for a part of that site. It cannot choose the name that the browser says, so unknown names are refused.
//! Addresses in digits cannot be rebound and are allowed.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, header};
use ooblex_http::Problem;

use crate::config::Config;

/// Names by which Colab's own proxy addresses the server. Nobody else can have them point anywhere.
const OF_COLAB: [&str; 2] = [".googleusercontent.com", ".colab.dev"];

/// The names of one server. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Arc<RwLock<Vec<String>>>);

impl Hosts {
    pub(crate) fn new(config: &Config) -> Self {
        let fixed = ["localhost", ".localhost"].into_iter().chain(OF_COLAB).map(str::to_owned);
        let own = config.allowed_hosts.iter().map(|host| host.as_str().to_owned());
        Self(Arc::new(RwLock::new(fixed.chain(own).collect())))
    }

    /// Allows a further name, with or without a port, such as that of a tunnel.
    pub(crate) fn allow(&self, host: &str) {
        let host = name_of(host);
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(&host) {
            names.push(host);
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
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().any(|name| match name.strip_prefix('.') {
            Some(_) => host.ends_with(name.as_str()),
            None => host == name,
        })
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
}
