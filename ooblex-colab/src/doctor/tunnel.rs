//! Whether the tunnel that is asked for can be opened, as far as this machine tells.

use super::{Findings, Verdict};
use crate::config::Config;
use crate::tunnel::{self, Limits};

pub(super) fn tunnel(findings: &mut Findings, config: &Config) {
    let name = config.tunnel.name();
    match tunnel::ready(config) {
        None => findings.add(Verdict::Fine, "tunnel", name, ""),
        Some(Err(missing)) => findings.add(Verdict::Note, "tunnel", &format!("{name}: {missing}"), ""),
        Some(Ok(())) => {
            let clients = match config.tunnel_names_clients() {
                true => "limits go by the address that its edge adds",
                false => "all who come count as one address (tunnel_forwarded_for)",
            };
            let found = format!("{name}: what it needs is here; {}; {clients}", quota(Limits::of(config)));
            findings.add(Verdict::Fine, "tunnel", &found, "");
        }
    }
}

/// What may pass before the provider refuses, in words.
fn quota(limits: Limits) -> String {
    let megabytes = limits.bytes.map(|bytes| format!("{} MB out", bytes / 1_000_000));
    let requests = limits.requests.map(|requests| format!("{requests} requests"));
    let all: Vec<String> = megabytes.into_iter().chain(requests).collect();
    if all.is_empty() {
        "no quota is known".to_owned()
    } else {
        format!("slowed before {}", all.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TunnelChoice;

    fn found(change: impl FnOnce(&mut Config)) -> (String, usize) {
        let (mut config, mut findings) = (Config::default(), Findings::default());
        change(&mut config);
        tunnel(&mut findings, &config);
        (findings.text, findings.notes)
    }

    #[test]
    fn what_is_missing_is_a_note_and_what_is_there_is_described() {
        assert_eq!(found(|_| {}), ("ok    tunnel         none\n".to_owned(), 0));
        let (text, notes) = found(|config| {
            config.tunnel = TunnelChoice::Cloudflared;
            config.cloudflared_program = Some("/nowhere/cloudflared".into());
        });
        assert!(
            notes == 1 && text.contains("/nowhere/cloudflared") && text.contains("fetch-cloudflared"),
            "{text}"
        );
        let (text, notes) = found(|config| {
            config.tunnel = TunnelChoice::Cloudflared;
            config.cloudflared_program = std::env::current_exe().ok();
            config.tunnel_quota_mb = Some(20);
        });
        assert!(notes == 0 && text.contains("slowed before 20 MB out; limits go by the address"), "{text}");
        let (text, notes) = found(|config| {
            config.tunnel = TunnelChoice::Command;
            config.tunnel_command = "sh {port}".parse().ok();
        });
        assert!(
            notes == 0 && text.contains("no quota is known; all who come count as one address"),
            "{text}"
        );
    }
}
