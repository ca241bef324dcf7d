//! TLS for clients that insist on it. An authority of its own is made at the start, by `openssl`; it
//! signs one certificate, for the names that the real services have, and its key is thrown away.
//!
//! Stored in a folder that the caller names: `ca.pem`, which the client is to trust, and the
//! server's certificate and key.

use std::{fs, io, path::Path, process::Command, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// Whom the simulators stand for. A client can reach them by these names through a proxy.
const NAMES: &str = "IP:127.0.0.1,DNS:localhost,DNS:queue.fal.run,DNS:fal.run,DNS:rest.fal.ai,\
DNS:huggingface.co,DNS:router.huggingface.co,DNS:api.kie.ai";

/// Makes authority and certificate in `folder`.
///
/// # Errors
/// When `openssl` is missing or fails, or the folder cannot be written to.
pub fn acceptor(folder: &Path) -> io::Result<TlsAcceptor> {
    // Another simulator in this process may have done it.
    drop(rustls::crypto::ring::default_provider().install_default());
    fs::create_dir_all(folder)?;
    make(folder)?;
    let wrong = |error: rustls::pki_types::pem::Error| io::Error::other(error.to_string());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(folder.join("cert.pem")).map_err(wrong)?.collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(wrong)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map_err(wrong)?, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn make(folder: &Path) -> io::Result<()> {
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!(
            "req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=Simulators \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
        ),
    )?;
    openssl(folder, &format!("req -new {new_key} -keyout key.pem -out request.pem -subj /CN=sim"))?;
    let extensions = format!(
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName={NAMES}\n"
    );
    fs::write(folder.join("extensions"), extensions)?;
    openssl(
        folder,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile extensions -out cert.pem",
    )?;
    fs::remove_file(folder.join("ca.key"))
}

/// Runs it in the folder; its arguments have no spaces.
fn openssl(folder: &Path, arguments: &str) -> io::Result<()> {
    let arguments = arguments.split_ascii_whitespace();
    let done = Command::new("openssl").args(arguments).current_dir(folder).output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(io::Error::other(format!("openssl failed: {said}")))
}
