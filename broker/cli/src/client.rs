//! A small blocking client: connections by address, versions negotiated, one request at a time.
//!
//! It serves the command line and nothing else: no pooling, no background threads. A call that fails on the wire is not
//! repeated here, since only the caller knows whether repeating is safe.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use protocol::api::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{self, RequestHeader, ResponseHeader};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::wire::{DecodeError, Reader};

/// The largest response that is read.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// What decoding a response may allocate.
const DECODE_BYTES_MAX: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any request of ours may wait in the broker.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// ApiVersions 3 is understood by every broker since 2.4, and any broker answers a newer one in the form of 0.
const API_VERSIONS_VERSION: i16 = 3;

/// Where the cluster is.
#[derive(Args, Clone, Debug)]
pub struct Bootstrap {
    /// Brokers to ask first, as host:port with commas between.
    #[arg(
        long,
        global = true,
        short = 'b',
        visible_alias = "bootstrap",
        default_value = "127.0.0.1:9092"
    )]
    pub bootstrap_server: String,
}

/// A client of one cluster.
pub struct Client {
    bootstrap: String,
    connections: BTreeMap<String, Connection>,
}

struct Connection {
    stream: TcpStream,
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Client {
    /// A client that has connected to the first of the bootstrap servers that answers.
    ///
    /// # Errors
    /// None of them does; the last one's reason.
    pub fn connect(bootstrap: &Bootstrap) -> Result<Client> {
        let mut last = anyhow!("no bootstrap server is named");
        for server in bootstrap
            .bootstrap_server
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
        {
            match Connection::open(server) {
                Ok(connection) => {
                    let connections = BTreeMap::from([(server.to_owned(), connection)]);
                    return Ok(Client {
                        bootstrap: server.to_owned(),
                        connections,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends one request to `server` (`host:port`; the bootstrap server if none) in the newest version that it and we
    /// (`newest`) know, and reads the answer.
    ///
    /// # Errors
    /// The server cannot be reached, does not know the API, closes the connection, or answers what cannot be read.
    pub fn call<T>(
        &mut self,
        server: Option<&str>,
        api: ApiKey,
        newest: i16,
        encode: impl FnOnce(&mut Vec<u8>, i16),
        decode: impl for<'a> FnOnce(&mut Reader<'a>, i16) -> Result<T, DecodeError>,
    ) -> Result<T> {
        let server = server.unwrap_or(&self.bootstrap).to_owned();
        let result = self
            .connection(&server)?
            .call(&server, api, newest, encode, decode);
        if result.is_err() {
            // Whatever is still under way on it would be taken for the next answer.
            self.connections.remove(&server);
        }
        result
    }
}

impl Client {
    /// Sends a request that has no answer (Produce with acks=0).
    ///
    /// # Errors
    /// As [`Client::call`], but for what the broker would have answered.
    pub fn send(
        &mut self,
        server: &str,
        api: ApiKey,
        newest: i16,
        encode: impl FnOnce(&mut Vec<u8>, i16),
    ) -> Result<()> {
        let connection = self.connection(server)?;
        let version = connection.version(server, api, newest)?;
        connection
            .write(api, version, encode)
            .with_context(|| format!("{server}: {api}"))
    }

    fn connection(&mut self, server: &str) -> Result<&mut Connection> {
        match self.connections.entry(server.to_owned()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Connection::open(server)?)),
        }
    }
}

impl Connection {
    fn open(server: &str) -> Result<Connection> {
        let addresses: Vec<SocketAddr> = server
            .to_socket_addrs()
            .with_context(|| format!("{server}: not a host:port that resolves"))?
            .collect();
        let mut last = anyhow!("{server}: no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                    let mut connection = Connection {
                        stream,
                        versions: BTreeMap::new(),
                        correlation_id: 0,
                    };
                    connection
                        .negotiate()
                        .with_context(|| format!("{server}: does not answer as a Kafka broker"))?;
                    return Ok(connection);
                }
                Err(error) => last = anyhow!("{server}: no broker can be reached there ({error})"),
            }
        }
        Err(last)
    }

    fn negotiate(&mut self) -> Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: "klamm",
            client_software_version: env!("CARGO_PKG_VERSION"),
            ..Default::default()
        };
        let answer = self.exchange(ApiKey::ApiVersions, API_VERSIONS_VERSION, |out, version| {
            request.encode(out, version);
        })?;
        let mut reader = Reader::new(&answer, DECODE_BYTES_MAX);
        ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, API_VERSIONS_VERSION)?;
        let response = ApiVersionsResponse::decode(&mut reader, API_VERSIONS_VERSION)?;
        if response.error_code != 0 {
            bail!(
                "ApiVersions: {}",
                ErrorCode::from_code(response.error_code).name()
            );
        }
        self.versions = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }

    fn call<T>(
        &mut self,
        server: &str,
        api: ApiKey,
        newest: i16,
        encode: impl FnOnce(&mut Vec<u8>, i16),
        decode: impl for<'a> FnOnce(&mut Reader<'a>, i16) -> Result<T, DecodeError>,
    ) -> Result<T> {
        let version = self.version(server, api, newest)?;
        let answer = self
            .exchange(api, version, encode)
            .with_context(|| format!("{server}: {api}"))?;
        let mut reader = Reader::new(&answer, DECODE_BYTES_MAX);
        ResponseHeader::decode(&mut reader, api, version)
            .and_then(|_| decode(&mut reader, version))
            .with_context(|| format!("{server}: {api}: the answer cannot be read"))
    }

    /// The newest version of an API that both sides know.
    fn version(&self, server: &str, api: ApiKey, newest: i16) -> Result<i16> {
        let Some(&(oldest, theirs)) = self.versions.get(&(api as i16)) else {
            bail!("{server}: the broker does not know {api}")
        };
        let version = newest.min(theirs);
        ensure!(
            version >= oldest,
            "{server}: the broker's {api} begins at version {oldest}, ours ends at {newest}"
        );
        Ok(version)
    }

    fn write(&mut self, api: ApiKey, version: i16, encode: impl FnOnce(&mut Vec<u8>, i16)) -> Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api_key: api as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("klamm"),
        };
        let mut request = Vec::new();
        frame::begin(&mut request);
        header.encode(&mut request);
        encode(&mut request, version);
        frame::end(&mut request, 0)?;
        Ok(self.stream.write_all(&request)?)
    }

    fn exchange(
        &mut self,
        api: ApiKey,
        version: i16,
        encode: impl FnOnce(&mut Vec<u8>, i16),
    ) -> Result<Vec<u8>> {
        self.write(api, version, encode)?;
        let mut prefix = [0; frame::LENGTH_BYTES];
        self.stream
            .read_exact(&mut prefix)
            .context("the broker closed the connection")?;
        let length = frame::frame_length(prefix, RESPONSE_BYTES_MAX)?;
        // Grows with what arrives, not with what the length says.
        let mut answer = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut answer)?;
        if answer.len() < length {
            bail!("the broker closed the connection in the middle of an answer");
        }
        if answer.get(..4) != Some(&self.correlation_id.to_be_bytes()[..]) {
            bail!("an answer to another request");
        }
        Ok(answer)
    }
}

/// What a Kafka error code means, in one line that begins with what it is about.
pub fn kafka_error(subject: &str, code: i16, message: Option<&str>) -> anyhow::Error {
    let error = ErrorCode::from_code(code);
    let message = message.filter(|message| !message.is_empty());
    match message {
        Some(message) => anyhow!("{subject}: {} ({code}): {message}", error.name()),
        None => anyhow!("{subject}: {} ({code})", error.name()),
    }
}
