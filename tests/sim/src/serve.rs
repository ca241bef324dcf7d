//! HTTP/1 on loopback. Whoever answers with [`lost`] answers not at all: the connection closes,
//! and the caller cannot know whether it was heard.

use std::{io, net::Ipv4Addr};

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceExt as _;

#[derive(Clone)]
struct Lost;

/// No answer.
#[must_use]
pub fn lost() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Lost);
    response
}

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it is.
    #[must_use]
    pub fn base(&self) -> String {
        base(self.port)
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

/// Takes a port; 0 takes any.
///
/// # Errors
/// When it is taken already.
pub async fn listen(port: u16) -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, base(port)))
}

/// Serves on it.
///
/// # Errors
/// When the listener is broken.
pub fn serve(listener: TcpListener, router: Router) -> io::Result<Server> {
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let router = router.clone();
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
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(Server { port, task })
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
