//! HTTP/1 on loopback. Whoever answers with [`lost`] answers not at all: the connection closes,
//! and the caller cannot know whether it was heard.

use std::{io, net::Ipv4Addr, path::Path};

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::tls;

#[derive(Clone)]
struct Lost;

/// No answer.
#[must_use]
pub fn lost() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Lost);
    response
}

/// Where a server listens, and how it is spoken to.
pub struct Door {
    listener: TcpListener,
    base: String,
    tls: Option<TlsAcceptor>,
}

impl Door {
    /// Takes a port (0: any); HTTP without TLS.
    ///
    /// # Errors
    /// When the port is taken already.
    pub async fn plain(port: u16) -> io::Result<Self> {
        let (listener, base) = listen(port).await?;
        Ok(Self { listener, base, tls: None })
    }

    /// Takes a port (0: any); HTTPS. What the client is to trust is in `folder`, as `ca.pem`.
    ///
    /// # Errors
    /// When the port is taken already, or no certificate can be made.
    pub async fn secure(port: u16, folder: &Path) -> io::Result<Self> {
        let tls = Some(tls::acceptor(folder)?);
        let (listener, base) = listen(port).await?;
        Ok(Self { listener, base: base.replace("http://", "https://"), tls })
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    base: String,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it is.
    #[must_use]
    pub fn base(&self) -> String {
        self.base.clone()
    }

    /// Runs until the process ends.
    ///
    /// # Errors
    /// When it ended badly.
    pub async fn forever(mut self) -> io::Result<()> {
        (&mut self.task).await.map_err(io::Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The largest body that is read: some megabytes of a file, in base64.
pub(crate) const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Takes a port; 0 takes any.
///
/// # Errors
/// When it is taken already.
pub async fn listen(port: u16) -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, base(port)))
}

/// Serves behind it.
pub fn serve(door: Door, router: Router) -> Server {
    let Door { listener, base, tls } = door;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (router, tls) = (router.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, router).await,
                    Some(tls) => {
                        // Who does not trust the certificate leaves.
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, router).await;
                        }
                    }
                }
            });
        }
    });
    Server { base, task }
}

/// Answers what comes over one connection.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            match response.extensions().get::<Lost>() {
                Some(Lost) => Err(io::Error::other("the answer is lost")),
                None => Ok(response),
            }
        }
    });
    // A connection that breaks is the client's to notice.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
