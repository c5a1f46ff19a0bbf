//! A CONNECT proxy that sends real host names to loopback servers: the way to run the shipped binary against
//! the stand-ins under Dropbox's own names, with certificates checked, and without touching name resolution.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A running proxy for `HTTPS_PROXY`. Dropping it closes every tunnel.
pub struct ConnectProxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Inner {
    targets: HashMap<String, SocketAddr>,
    is_stopped: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
    asked: Mutex<Vec<String>>,
}

impl ConnectProxy {
    /// Starts a proxy that knows these `host:port` names and refuses all others with 403.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start(
        targets: impl IntoIterator<Item = (String, SocketAddr)>,
    ) -> io::Result<ConnectProxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            targets: targets.into_iter().collect(),
            ..Inner::default()
        });
        let acceptor = std::thread::spawn({
            let inner = Arc::clone(&inner);
            move || {
                let mut threads = Vec::new();
                for client in listener.incoming().flatten() {
                    if inner.is_stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let inner = Arc::clone(&inner);
                    threads.push(std::thread::spawn(move || inner.serve(client)));
                }
                for socket in &*inner.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = socket.shutdown(Shutdown::Both);
                }
                for thread in threads {
                    let _: Result<io::Result<()>, _> = thread.join();
                }
            }
        });
        Ok(Self {
            address,
            inner,
            acceptor: Some(acceptor),
        })
    }

    /// The value for `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `host:port` names that were asked for, refused ones included.
    pub fn asked(&self) -> Vec<String> {
        self.inner
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.inner.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Inner {
    fn register(&self, socket: &TcpStream) -> io::Result<()> {
        let copy = socket.try_clone()?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopped.load(Ordering::SeqCst) {
            let _ = copy.shutdown(Shutdown::Both);
        }
        sockets.push(copy);
        Ok(())
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        self.register(&client)?;
        let mut reader = BufReader::new(client.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let name = match line.split(' ').collect::<Vec<_>>()[..] {
            ["CONNECT", name, _] => name.to_owned(),
            _ => return client.write_all(b"HTTP/1.1 405 Only CONNECT\r\n\r\n"),
        };
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let Some(target) = self.targets.get(&name) else {
            client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")?;
            return client.shutdown(Shutdown::Both);
        };
        let server = TcpStream::connect(target)?;
        self.register(&server)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let back = std::thread::spawn({
            let (from, to) = (server.try_clone()?, client.try_clone()?);
            move || relay(from, to)
        });
        // The reader may already hold the first bytes of the tunnel.
        relay(reader, server);
        let _ = back.join();
        Ok(())
    }
}

/// Copies until one side ends, then ends the other.
fn relay(mut from: impl io::Read, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
