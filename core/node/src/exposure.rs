//! Whether what a node listens on can be reached, and read, from the network.

use std::net::ToSocketAddrs;

use crate::cli::Usage;

/// Refuses to listen without encryption where others than this machine can connect, unless the
/// operator has `accepted` that. An address that can't be resolved is left to whoever binds it.
///
/// # Errors
/// It names the remedies.
pub(crate) fn check_plain(flag: &str, address: &str, accepted: bool) -> Result<(), Usage> {
    let Ok(mut addresses) = address.to_socket_addrs() else { return Ok(()) };
    if accepted || addresses.all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    Err(Usage(format!(
        "{flag} {address} is open to the network, and nothing on it would be encrypted, tokens \
         included; give --tls-cert and --tls-key for clients, or listen on 127.0.0.1 behind a proxy \
         that ends TLS, or, on a network that you trust, add --insecure-plain"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_connect_without_encryption() {
        for address in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:7400", "localhost:7400"] {
            assert!(check_plain("--listen", address, false).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:7400", "[::]:7400", "192.0.2.1:7400", "[::ffff:192.0.2.1]:1"] {
            let error = check_plain("--listen", address, false).unwrap_err().to_string();
            assert!(error.contains(address) && error.contains("--insecure-plain"), "{error}");
            assert!(check_plain("--listen", address, true).is_ok(), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_left_to_bind() {
        assert!(check_plain("--listen", "nonsense", false).is_ok());
    }
}
