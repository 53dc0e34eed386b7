//! Sessions over real sockets.

use super::*;

#[test]
fn each_local_address_has_the_outside_address_in_its_place() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("address");
    let network = |external: &[&str], bind: &[&str]| {
        let config = NetworkConfig {
            external: external.iter().map(|e| ip(e)).collect(),
            bind: bind.iter().map(|b| ip(b)).collect(),
            ..NetworkConfig::default()
        };
        Network::new(config).0
    };
    let one = network(&["203.0.113.1"], &[]);
    assert_eq!(one.external_for(ip("10.0.0.1")), Some(ip("203.0.113.1")));
    assert_eq!(one.external_for(ip("fd00::1")), None);
    let two = network(&["203.0.113.1", "2001:db8::1", "203.0.113.2"], &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(two.external_for(ip("10.0.0.2")), Some(ip("203.0.113.2")));
    assert_eq!(two.external_for(ip("fd00::1")), Some(ip("2001:db8::1")));
}
