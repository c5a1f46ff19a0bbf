//! A proxy, CONNECT or SOCKS 5, that sends real host names to loopback servers: the way to run the shipped binary against
//! the stand-ins under Dropbox's own names, with certificates checked, and without touching name resolution.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
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
    credentials: Mutex<Option<String>>,
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

    /// The same for a client that speaks SOCKS 5 and leaves names to the proxy.
    pub fn socks_url(&self) -> String {
        format!("socks5h://{}", self.address)
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

impl ConnectProxy {
    /// What the last CONNECT had for `Proxy-Authorization`.
    pub fn credentials(&self) -> Option<String> {
        let credentials = self.inner.credentials.lock();
        credentials.unwrap_or_else(PoisonError::into_inner).clone()
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
        if reader.fill_buf()?.first() == Some(&5) {
            return self.serve_socks(client, reader);
        }
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let name = match line.split(' ').collect::<Vec<_>>()[..] {
            ["CONNECT", name, _] => name.to_owned(),
            _ => return client.write_all(b"HTTP/1.1 405 Only CONNECT\r\n\r\n"),
        };
        let mut credentials = None;
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("proxy-authorization")
            {
                credentials = Some(value.trim().to_owned());
            }
        }
        let last = self.credentials.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = credentials;
        let Some(target) = self.target(name) else {
            client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n")?;
            return client.shutdown(Shutdown::Both);
        };
        self.tunnel(
            client,
            reader,
            target,
            b"HTTP/1.1 200 Connection established\r\n\r\n",
        )
    }

    /// SOCKS 5 (RFC 1928) without a password; names only.
    fn serve_socks(
        &self,
        mut client: TcpStream,
        mut reader: BufReader<TcpStream>,
    ) -> io::Result<()> {
        let mut take = |count: u8| {
            let mut bytes = vec![0; count.into()];
            reader.read_exact(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let methods = take(2)?[1];
        take(methods)?;
        client.write_all(&[5, 0])?;
        let [.., 3, length] = take(5)?[..] else {
            return client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]);
        };
        let name = String::from_utf8_lossy(&take(length)?).into_owned();
        let port = take(2)?;
        let port = u16::from_be_bytes([port[0], port[1]]);
        let Some(target) = self.target(format!("{name}:{port}")) else {
            client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0])?;
            return client.shutdown(Shutdown::Both);
        };
        self.tunnel(client, reader, target, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    }

    /// Where a name leads, which is noted.
    fn target(&self, name: String) -> Option<SocketAddr> {
        let target = self.targets.get(&name).copied();
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name);
        target
    }

    fn tunnel(
        &self,
        mut client: TcpStream,
        reader: BufReader<TcpStream>,
        target: SocketAddr,
        welcome: &[u8],
    ) -> io::Result<()> {
        let server = TcpStream::connect(target)?;
        self.register(&server)?;
        client.write_all(welcome)?;
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
fn relay(mut from: impl Read, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
