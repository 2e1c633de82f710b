//! A proxy between real clients and a broker that keeps what they say to each other, one request and its
//! response at a time, as golden bytes for `protocol`.
//!
//! Clients come through it by themselves when the broker advertises the proxy's port.

use protocol::ApiKey;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Which conversation: API key, version and the label of the moment.
type Topic = (i16, i16, String);

/// A request and its response, both from the header on, without the length before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Header and body.
    pub request: Vec<u8>,
    /// Header and body.
    pub response: Vec<u8>,
}

/// The proxy. It lives as long as the process.
#[derive(Clone)]
pub struct Proxy {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    label: String,
    exchanges: BTreeMap<Topic, Vec<Exchange>>,
}

impl Proxy {
    /// Listens on `port` of 127.0.0.1 and passes everything on to `broker`'s.
    pub fn start(port: u16, broker: u16) -> std::io::Result<Proxy> {
        let proxy = Proxy {
            state: Arc::default(),
        };
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let accepting = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A connection that fails is the client's to notice.
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) {
                    accepting.relay(client, broker);
                }
            }
        });
        Ok(proxy)
    }

    /// What is kept from now on bears this label.
    pub fn label(&self, label: &str) {
        self.lock().label = label.to_string();
    }

    /// All that was kept: by API key, version and label.
    pub fn exchanges(&self) -> BTreeMap<(i16, i16, String), Vec<Exchange>> {
        self.lock().exchanges.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Two threads for a connection, one for each direction.
    fn relay(&self, client: TcpStream, broker: TcpStream) {
        let asked: Arc<Mutex<BTreeMap<i32, Vec<u8>>>> = Arc::default();
        let (Ok(client_in), Ok(broker_in)) = (client.try_clone(), broker.try_clone()) else {
            return;
        };
        let (proxy, answered) = (self.clone(), asked.clone());
        std::thread::spawn(move || {
            pump(client_in, broker, |frame| {
                if let Some(correlation_id) = i32_at(frame, 4) {
                    asked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(correlation_id, frame.to_vec());
                }
            });
        });
        std::thread::spawn(move || {
            pump(broker_in, client, |frame| {
                let request = i32_at(frame, 0).and_then(|id| {
                    answered
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&id)
                });
                if let Some(request) = request {
                    proxy.keep(request, frame.to_vec());
                }
            });
        });
    }

    fn keep(&self, request: Vec<u8>, response: Vec<u8>) {
        let (Some(key), Some(version)) = (i16_at(&request, 0), i16_at(&request, 2)) else {
            return;
        };
        let mut state = self.lock();
        let topic = (key, version, state.label.clone());
        state
            .exchanges
            .entry(topic)
            .or_default()
            .push(Exchange { request, response });
    }
}

/// Passes frames on until either side closes, and shows each to `see` before.
fn pump(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut pass = || -> std::io::Result<()> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let size = protocol::frame::frame_length(length, 64 << 20).map_err(std::io::Error::other)?;
        let mut frame = vec![0; size];
        from.read_exact(&mut frame)?;
        see(&frame);
        to.write_all(&length)?;
        to.write_all(&frame)
    };
    while pass().is_ok() {}
    // The other direction ends too; an error means that it has already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn i16_at(frame: &[u8], at: usize) -> Option<i16> {
    frame
        .get(at..)?
        .first_chunk()
        .map(|bytes| i16::from_be_bytes(*bytes))
}

fn i32_at(frame: &[u8], at: usize) -> Option<i32> {
    frame
        .get(at..)?
        .first_chunk()
        .map(|bytes| i32::from_be_bytes(*bytes))
}

/// What goes into the repository: per API one text, `VERSION LABEL REQUEST RESPONSE` with bytes in hex, one
/// line per exchange, each shape once and none longer than `bytes_max`. The name of the text is
/// `KEY-NAME.txt`.
pub fn texts(
    exchanges: &BTreeMap<(i16, i16, String), Vec<Exchange>>,
    bytes_max: usize,
) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for ((key, version, label), exchanges) in exchanges {
        let name = ApiKey::try_from(*key).map_or("Unknown", ApiKey::name);
        let text = texts.entry(format!("{key:02}-{name}.txt")).or_default();
        let mut shapes = std::collections::BTreeSet::new();
        for exchange in exchanges {
            let shape = (exchange.request.len(), exchange.response.len());
            if shape.0 + shape.1 <= bytes_max && shapes.len() < 3 && shapes.insert(shape) {
                let (request, response) = (hex(&exchange.request), hex(&exchange.response));
                text.push_str(&format!("{version} {label} {request} {response}\n"));
            }
        }
    }
    texts.retain(|_, text| !text.is_empty());
    texts
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
