//! Addresses that belong together.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses whose first bits are the same, `10.0.0.0/8`, or one address alone, `192.0.2.1`.
///
/// An IPv4 address is the same in both families. A network of all addresses (`/0`) cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && first_bits(address, self.bits) == number(self.address)
    }
}

/// An address as a number, its first bit on top.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The same with zeros behind the first `bits`, which is not 0.
fn first_bits(address: IpAddr, bits: u8) -> u128 {
    number(address) & (u128::MAX << (128 - u32::from(bits)))
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| no_address(address))?;
        let address = address.to_canonical();
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits.map(str::parse) {
            None => all,
            Some(Ok(bits)) if (1..=all).contains(&bits) => bits,
            Some(_) => return Err(format!("{text:?}: behind the slash stands a number from 1 to {all}")),
        };
        match first_bits(address, bits) == number(address) {
            true => Ok(Self { address, bits }),
            false => Err(format!("{text:?} says more than the first {bits} bits; write zeros behind them")),
        }
    }
}

fn no_address(text: &str) -> String {
    format!("{text:?} is no IP address")
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(address), 32) => write!(f, "{address}"),
            (IpAddr::V6(address), 128) => write!(f, "{address}"),
            (address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        let network: Network = network.parse().expect("a network");
        network.contains(address.parse().expect("an address"))
    }

    #[test]
    fn addresses_belong_by_their_first_bits() {
        for (network, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("10.0.0.0/8", "10.255.0.1"),
            ("128.0.0.0/1", "255.255.255.255"),
            ("172.16.0.0/12", "172.31.255.255"),
            ("2001:db8::/32", "2001:db8:ffff::1"),
            ("::1", "::1"),
        ] {
            assert!(has(network, address), "{address} in {network}");
        }
        for (network, address) in [
            ("192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "11.0.0.0"),
            ("172.16.0.0/12", "172.32.0.0"),
            ("2001:db8::/32", "2001:db9::1"),
            ("::1", "127.0.0.1"),
            ("128.0.0.0/1", "8000::"),
            ("8000::/1", "128.0.0.1"),
        ] {
            assert!(!has(network, address), "{address} in {network}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_the_rest_refused() {
        for text in ["192.0.2.1", "10.0.0.0/8", "2001:db8::/32", "::1"] {
            assert_eq!(text.parse::<Network>().expect(text).to_string(), text);
        }
        for bad in [
            "",
            "/8",
            "a",
            "10.0.0.0/",
            "10.0.0.0/0",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.1/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
