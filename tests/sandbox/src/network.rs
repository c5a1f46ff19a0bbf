//! A network of one's own for a test: loopback only, every port free, and a name server on port 53.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, unshare};

const PORT: u16 = 53;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NO_SUCH_NAME: u8 = 3;
/// Longest message without EDNS; longer ones are cut, and asked for again by TCP.
const DATAGRAM_BYTES_MAX: usize = 512;

/// Runs `body` in a network namespace that only it and what it starts can see.
///
/// # Errors
/// Why there can be none: not root, or no `ip` program.
pub fn in_private_network<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, String> {
    // A namespace is a thread's own; threads and processes that it starts inherit it.
    let thread = move || {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("no private network namespace: {error}"))?;
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        if !up.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("ip link set lo up: {up:?}"));
        }
        Ok(body())
    };
    thread::scope(|scope| {
        let result = scope.spawn(thread).join();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A name server on loopback. Its threads end with the process: there is one for each private network.
pub struct NameServer {
    names: HashMap<String, Vec<IpAddr>>,
}

impl NameServer {
    /// Answers on port 53 of this address, by UDP and TCP. A name that is not listed does not exist.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub fn start(address: Ipv4Addr, names: &[(&str, &[IpAddr])]) -> io::Result<()> {
        let names = names
            .iter()
            .map(|(name, addresses)| (name.to_lowercase(), addresses.to_vec()))
            .collect();
        let server = Arc::new(Self { names });
        let datagrams = UdpSocket::bind((address, PORT))?;
        let streams = TcpListener::bind((address, PORT))?;
        let by_stream = Arc::clone(&server);
        thread::spawn(move || {
            let mut question = [0; DATAGRAM_BYTES_MAX];
            while let Ok((length, peer)) = datagrams.recv_from(&mut question) {
                if let Some(mut answer) = server.answer(&question[..length]) {
                    if answer.len() > DATAGRAM_BYTES_MAX {
                        answer.truncate(DATAGRAM_BYTES_MAX);
                        answer[2] |= 0x02;
                    }
                    let _ = datagrams.send_to(&answer, peer);
                }
            }
        });
        thread::spawn(move || {
            for stream in streams.incoming().flatten() {
                let _ = by_stream.serve(stream);
            }
        });
        Ok(())
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question)?;
        if let Some(answer) = self.answer(&question) {
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
        Ok(())
    }

    /// The answer to a message with one question; `None` for what is no question.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            name.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
        let question = message.get(12..at + 4)?;

        let known = self.names.get(&name.join("."));
        let addresses: Vec<Vec<u8>> = known
            .into_iter()
            .flatten()
            .filter_map(|address| match address {
                IpAddr::V4(address) if kind == TYPE_A => Some(address.octets().to_vec()),
                IpAddr::V6(address) if kind == TYPE_AAAA => Some(address.octets().to_vec()),
                _ => None,
            })
            .collect();

        let mut answer = message[..2].to_vec();
        let code = if known.is_some() { 0 } else { NO_SUCH_NAME };
        // An answer, recursion wanted and available.
        answer.extend([0x81, 0x80 | code]);
        answer.extend(1_u16.to_be_bytes());
        answer.extend(u16::try_from(addresses.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        for address in addresses {
            // The name of the question, this type, class IN, a minute to live.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 60]);
            answer.extend(u16::try_from(address.len()).ok()?.to_be_bytes());
            answer.extend(address);
        }
        Some(answer)
    }
}
