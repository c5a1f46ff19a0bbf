//! Certificates for tests: an authority of our own, leaves in every state a client must tell apart.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::NamedTempFile;

/// A certificate and key ready for a server; TLS 1.2 and 1.3, as Dropbox requires 1.2 or newer.
#[derive(Clone)]
pub struct TlsConfig(pub(super) Arc<rustls::ServerConfig>);

/// What a leaf certificate says.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    /// DNS names and IP addresses it is valid for.
    pub names: Vec<String>,
    /// Its time is over.
    pub is_expired: bool,
}

impl Leaf {
    /// A good leaf for these names and addresses.
    pub fn of<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            is_expired: false,
        }
    }
}

/// A certificate authority that lives as long as the test.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    file: NamedTempFile,
}

impl TestCa {
    /// Makes an authority and writes its certificate to a temporary file.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn new() -> anyhow::Result<Self> {
        // Two authorities of one name would be told apart only by a failing signature.
        static AUTHORITIES: AtomicU64 = AtomicU64::new(1);
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Sandbox test CA {number}"));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem();
        let mut file = tempfile::Builder::new()
            .prefix("sandbox-ca-")
            .suffix(".pem")
            .tempfile()?;
        file.write_all(pem.as_bytes())?;
        file.flush()?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            file,
        })
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The file that holds it, for `SSL_CERT_FILE`; gone when the authority is dropped.
    pub fn pem_path(&self) -> &Path {
        self.file.path()
    }

    /// Issues a leaf and wraps it for a server.
    ///
    /// # Errors
    /// When a name is no DNS name or IP address.
    pub fn issue(&self, leaf: &Leaf) -> anyhow::Result<TlsConfig> {
        let key = KeyPair::generate()?;
        let certificate = leaf_params(leaf)?.signed_by(&key, &self.issuer)?;
        server_config(&certificate, &key)
    }
}

/// A certificate that vouches for itself, as UISP installs ship one.
///
/// # Errors
/// When a name is no DNS name or IP address.
pub fn self_signed(leaf: &Leaf) -> anyhow::Result<TlsConfig> {
    let key = KeyPair::generate()?;
    let certificate = leaf_params(leaf)?.self_signed(&key)?;
    server_config(&certificate, &key)
}

fn leaf_params(leaf: &Leaf) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(leaf.names.clone())?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
        .distinguished_name
        .push(DnType::CommonName, "Sandbox test leaf");
    if leaf.is_expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    Ok(params)
}

fn server_config(certificate: &Certificate, key: &KeyPair) -> anyhow::Result<TlsConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConfig(Arc::new(config)))
}
