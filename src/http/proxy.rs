//! The proxy that the environment names for servers on the internet.
//!
//! As elsewhere, the variable for https counts before the one for everything, and the lower case before the
//! upper; `HTTP_PROXY` alone is taken, too, because earlier versions did. Which kinds of proxies there are is
//! up to ureq: HTTP, HTTPS and SOCKS.

use std::env;

use ureq::Proxy;

use super::Error;

/// The variables that can name a proxy, the one that counts most first.
const VARIABLES: [&str; 6] = [
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "http_proxy",
    "HTTP_PROXY",
];

/// A proxy, and the variable that names it. Its address may hold a password and is shown to nobody.
#[derive(Clone, Debug)]
pub struct Named {
    /// The variable.
    pub variable: &'static str,
    /// The proxy; it knows the hosts that are asked without it.
    pub proxy: Proxy,
}

/// The proxy that the environment names, if it does.
///
/// # Errors
/// [`Error::Protocol`] if its address cannot be used: asking Dropbox without it would be against the admin's word.
pub fn from_environment() -> Result<Option<Named>, Error> {
    let Some((variable, address)) = first_of(&VARIABLES) else {
        return Ok(None);
    };
    let unusable = |what: &str| {
        Error::Protocol(format!(
            "the environment variable {variable} names a proxy {what}; it must be an address such as http://proxy:3128, or begin with https, socks4, socks4a, socks5 or socks5h"
        ))
    };
    let given = Proxy::new(&address).map_err(|_| match address.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            unusable(&format!("of the kind \"{scheme}\" that cannot be used"))
        }
        _ => unusable("that is no address"),
    })?;
    let mut builder = Proxy::builder(given.protocol())
        .host(given.host())
        .port(given.port())
        .resolve_target(given.resolve_target());
    if let Some(name) = given.username() {
        builder = builder.username(name);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    let (_, excepted) = first_of(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    for host in without_proxy(&excepted) {
        builder = builder.no_proxy(&host);
    }
    let proxy = builder
        .build()
        .map_err(|_| unusable("that is no address"))?;
    Ok(Some(Named { variable, proxy }))
}

/// The hosts of a list that are asked without a proxy; a domain stands for its hosts, too.
fn without_proxy(list: &str) -> impl Iterator<Item = String> {
    let names = list.split([',', ' ']).filter(|name| !name.is_empty());
    names.flat_map(|name| [name.to_owned(), format!(".{name}")])
}

/// The first of the variables that holds something.
fn first_of(variables: &[&'static str]) -> Option<(&'static str, String)> {
    variables.iter().find_map(|variable| {
        let value = env::var(variable).ok()?;
        let value = value.trim();
        (!value.is_empty()).then(|| (*variable, value.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use ureq::ProxyProtocol;

    use super::*;

    #[test]
    fn a_domain_stands_for_its_hosts_however_it_is_written() {
        let is_excepted = |list: &str, host: &str| {
            let mut builder = Proxy::builder(ProxyProtocol::Http).host("proxy");
            for name in without_proxy(list) {
                builder = builder.no_proxy(&name);
            }
            let url = format!("https://{host}/").parse().unwrap();
            builder.build().unwrap().is_no_proxy(&url)
        };
        let domain = "dropboxapi.com";
        for list in [
            domain,
            ".dropboxapi.com",
            "*.dropboxapi.com",
            "localhost, dropboxapi.com",
            "localhost dropboxapi.com",
        ] {
            assert!(is_excepted(list, "api.dropboxapi.com"), "{list}");
            assert!(!is_excepted(list, "api.dropboxapi.com.example"), "{list}");
            assert!(!is_excepted(list, "otherdropboxapi.com"), "{list}");
        }
        assert!(is_excepted(domain, domain));
        assert!(!is_excepted("", domain) && !is_excepted(" ,", domain));
    }
}
