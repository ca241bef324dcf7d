//! A TCP relay that can fall silent: connections stay open, but nothing passes any more.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Connections opened before this one are silent.
    silent_before: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            silent_before: Arc::default(),
            opened: Arc::default(),
        };
        let (silent_before, opened) = (Arc::clone(&proxy.silent_before), Arc::clone(&proxy.opened));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = opened.fetch_add(1, Ordering::SeqCst);
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((near_read, near_write), (far_read, far_write)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(relay(near_read, far_write, number, Arc::clone(&silent_before)));
                tokio::spawn(relay(far_read, near_write, number, Arc::clone(&silent_before)));
            }
        });
        proxy
    }

    /// Whoever is connected now hears nothing any more and is not told.
    pub(crate) fn cut_silently(&self) {
        self.silent_before.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: usize,
    silent_before: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let silent = number < silent_before.load(Ordering::SeqCst);
        if silent {
            // Not even a close passes.
            std::future::pending::<()>().await;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
