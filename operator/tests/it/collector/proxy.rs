//! A substitute for a Service: new connections go to the present pod, existing ones stay.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A proxy of TCP connections.
pub struct Proxy {
    pub address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    _stop: DropGuard,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(accept(listener, Arc::clone(&target))),
        );
        Self {
            address,
            target,
            _stop: stop.drop_guard(),
        }
    }

    /// Sets the target of new connections.
    pub fn set_target(&self, target: SocketAddr) {
        *self.target.lock() = target;
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<SocketAddr>>) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let target = *target.lock();
        tokio::spawn(async move {
            // Without a listener the client's connection is closed.
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
