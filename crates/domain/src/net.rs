//! Which addresses may be called, and which a file may be fetched from: names in messages may resolve
//! to anything.

use std::net::IpAddr;

use url::{Host, Url};

/// This machine, by name or number: where tests and demos run what is elsewhere otherwise.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether `url` is https, at the usual port, on one of `domains` or below it.
pub fn is_https_below<'a>(url: &Url, domains: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(Host::Domain(host)) = url.host() else { return false };
    let below = |domain| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    url.scheme() == "https" && url.port().is_none() && domains.into_iter().any(below)
}

/// Whether an address is out in the open: not this machine, not a network behind it, nothing
/// reserved.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let test = a == 198 && (18..20).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast()
                || ip.is_documentation()
                || a == 0
                || a >= 240
                || shared
                || test)
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_public(IpAddr::V4(mapped)),
            None => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_asked() {
        for ip in
            ["10.0.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["157.240.1.1", "2a03:2880:f10c:283:face:b00c:0:25de"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
