//! TLS to the server, by rustls: certificates of the authorities that the system trusts, or of a file.

use std::sync::Arc;

use clickhouse::Client;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::ClickHouseSettings;
use crate::guard::Guard;

/// A client that speaks TLS only; and why it cannot, if so.
#[cfg(feature = "tls")]
pub(crate) fn client(
    builder: &legacy::Builder,
    mut connector: HttpConnector,
    settings: &ClickHouseSettings,
) -> (Client, Option<Arc<str>>) {
    connector.enforce_http(false);
    match config(settings) {
        Ok(config) => {
            let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
            (Client::with_http_client(builder.build(Guard(https.wrap_connector(connector)))), None)
        }
        Err(why) => (Client::default(), Some(why.into())),
    }
}

/// Never reached: such settings are refused.
#[cfg(not(feature = "tls"))]
pub(crate) fn client(
    builder: &legacy::Builder,
    connector: HttpConnector,
    _: &ClickHouseSettings,
) -> (Client, Option<Arc<str>>) {
    (Client::with_http_client(builder.build(Guard(connector))), Some("this build has no TLS".into()))
}

#[cfg(feature = "tls")]
fn config(settings: &ClickHouseSettings) -> Result<rustls::ClientConfig, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca_file {
        Some(file) => {
            let unreadable = |why: String| format!("CLICKHOUSE_CA_FILE: {} cannot be read: {why}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|why| unreadable(why.to_string()))? {
                let certificate = certificate.map_err(|why| unreadable(why.to_string()))?;
                roots.add(certificate).map_err(|why| unreadable(why.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("it holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "the system trusts no authority: install its certificates (ca-certificates), or name a file in \
                            CLICKHOUSE_CA_FILE"
                        .to_owned(),
                );
            }
        }
    }
    // Named here and not left to the process: another crate may have chosen, or two may disagree.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|why| why.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
