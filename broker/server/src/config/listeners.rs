//! Where a node listens and what it tells clients: `listeners`, `advertised.listeners` and the names around
//! them.
//!
//! What a newcomer would get wrong: the listeners of the controller stand in the same list as the broker's,
//! told apart by `controller.listener.names` alone; and an address that clients could not reach must not be
//! advertised.

use std::collections::BTreeMap;
use std::fmt;

use super::setting::list;

/// How bytes travel on a listener (`SecurityProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encryption nor authentication.
    Plaintext,
}

impl SecurityProtocol {
    /// Its code in registration records.
    pub fn code(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
        }
    }
}

/// One `NAME://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, in capital letters.
    pub name: String,
    /// The host; of an address to listen on it is empty for "every interface".
    pub host: String,
    /// The port; of an address to listen on it is 0 for "any".
    pub port: u16,
    /// What the name stands for.
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(out, "{}://{open}{}{close}:{}", self.name, self.host, self.port)
    }
}

/// All listeners of a node. Names are unique over both lists.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Listeners {
    /// Where clients are served; not empty.
    pub broker: Vec<Listener>,
    /// What clients are told, one for each of `broker` at most and at least one in all. A port of 0 means
    /// the port that the listener of this name was bound to.
    pub advertised: Vec<Listener>,
    /// The listeners of the controller quorum; empty when `listeners` names none.
    pub controller: Vec<Listener>,
    /// Where other controllers would be told to find `controller`; empty when `advertised.listeners` does not say.
    pub controller_advertised: Vec<Listener>,
}

/// The texts that [`Listeners`] come from.
pub(super) struct Texts<'a> {
    pub(super) listeners: &'a str,
    pub(super) advertised: Option<&'a str>,
    pub(super) controller_names: &'a str,
    /// Whether somebody chose `controller_names`.
    pub(super) controller_names_given: bool,
    pub(super) protocol_map: &'a str,
    pub(super) protocol_map_given: bool,
    pub(super) inter_broker: Option<&'a str>,
    /// The name of this host, advertised for a listener on every interface.
    pub(super) host_name: &'a str,
}

/// A setting's name, and what its value should be.
type Wrong = (&'static str, String);

impl Listeners {
    pub(super) fn parse(texts: &Texts<'_>) -> Result<Listeners, Wrong> {
        let controllers: Vec<String> = list(texts.controller_names).map(str::to_uppercase).collect();
        let protocols = Protocols::parse(texts, &controllers)?;
        let all = addresses("listeners", texts.listeners, &protocols)?;
        let (controller, broker): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|listener| controllers.contains(&listener.name));
        if broker.is_empty() {
            return Err((
                "listeners",
                "must name a listener for clients beside the controller's".to_owned(),
            ));
        }
        if controller.is_empty() && texts.controller_names_given {
            return Err((
                "controller.listener.names",
                "must name a listener that stands in listeners".to_owned(),
            ));
        }
        let advertised = match texts.advertised {
            Some(text) => addresses("advertised.listeners", text, &protocols)?,
            None => broker
                .iter()
                .map(|listener| advertise(listener, texts.host_name))
                .collect(),
        };
        let (controller_advertised, advertised): (Vec<_>, Vec<_>) = advertised
            .into_iter()
            .partition(|listener| controllers.contains(&listener.name));
        check_advertised(&broker, &advertised, texts.inter_broker)?;
        Ok(Listeners {
            broker,
            advertised,
            controller,
            controller_advertised,
        })
    }

    /// Whether a controller at `place`, a HOST:PORT, is this node. A listener on every interface may go by any name.
    pub(super) fn is_controller_here(&self, place: &str) -> bool {
        let Some((host, port)) = place.rsplit_once(':') else {
            return false;
        };
        let (host, port) = (plain_host(host), port.parse::<u16>());
        let mut all = self.controller.iter().chain(&self.controller_advertised);
        all.any(|listener| {
            let is_any = matches!(listener.host.as_str(), "" | "0.0.0.0" | "::");
            port == Ok(listener.port) && (is_any || plain_host(&listener.host) == host)
        })
    }
}

/// A host as it is compared: small letters, no brackets, and one name for this machine as seen from itself.
fn plain_host(host: &str) -> String {
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    match host.trim_end_matches('.').to_lowercase().as_str() {
        "127.0.0.1" | "::1" => "localhost".to_owned(),
        host => host.to_owned(),
    }
}

fn check_advertised(broker: &[Listener], advertised: &[Listener], inter: Option<&str>) -> Result<(), Wrong> {
    let key = "advertised.listeners";
    if advertised.is_empty() {
        return Err((key, "must name a listener for clients".to_owned()));
    }
    for listener in advertised {
        if !broker.iter().any(|other| other.name == listener.name) {
            return Err((
                key,
                format!("must only name listeners of listeners, {} is none", listener.name),
            ));
        }
        if matches!(listener.host.as_str(), "0.0.0.0" | "::") {
            let told = "must name a host that clients can connect to";
            return Err((
                key,
                format!("{told}: {} stands for every interface", listener.host),
            ));
        }
    }
    match inter {
        Some(name)
            if !advertised
                .iter()
                .any(|listener| listener.name == name.to_uppercase()) =>
        {
            Err((
                "inter.broker.listener.name",
                "must be the name of an advertised listener".to_owned(),
            ))
        }
        _ => Ok(()),
    }
}

fn advertise(listener: &Listener, host_name: &str) -> Listener {
    let host = if listener.host.is_empty() {
        host_name.to_owned()
    } else {
        listener.host.clone()
    };
    Listener {
        host,
        ..listener.clone()
    }
}

fn addresses(key: &'static str, text: &str, protocols: &Protocols) -> Result<Vec<Listener>, Wrong> {
    let mut found: Vec<Listener> = Vec::new();
    for part in list(text) {
        let listener = address(key, part, protocols)?;
        if found.iter().any(|other| other.name == listener.name) {
            return Err((
                key,
                format!("must name each listener once, {} stands twice", listener.name),
            ));
        }
        if found.iter().any(|other| same_place(other, &listener)) && key == "listeners" {
            return Err((
                key,
                format!("must use each port once, {} stands twice", listener.port),
            ));
        }
        found.push(listener);
    }
    Ok(found)
}

fn same_place(one: &Listener, other: &Listener) -> bool {
    one.port == other.port && one.port != 0 && one.host == other.host
}

fn address(key: &'static str, part: &str, protocols: &Protocols) -> Result<Listener, Wrong> {
    let shape = || {
        (
            key,
            format!("must be a list of NAME://HOST:PORT, {part:?} is none"),
        )
    };
    let (name, place) = part.split_once("://").ok_or_else(shape)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(shape)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = port.parse::<u16>().map_err(|_| shape())?;
    if name.is_empty() || host.contains(['/', '[', ']']) {
        return Err(shape());
    }
    let name = name.to_uppercase();
    let protocol = protocols.of(&name)?;
    Ok(Listener {
        name,
        host: host.to_owned(),
        port,
        protocol,
    })
}

/// What each listener name stands for.
struct Protocols {
    map: BTreeMap<String, String>,
    /// Names that stand for PLAINTEXT without being in the map: the controller's, while nobody chose a map.
    plain: Vec<String>,
}

const MAP: &str = "listener.security.protocol.map";

impl Protocols {
    fn parse(texts: &Texts<'_>, controllers: &[String]) -> Result<Protocols, Wrong> {
        let mut map = BTreeMap::new();
        for part in list(texts.protocol_map) {
            let (name, protocol) = part
                .split_once(':')
                .ok_or_else(|| (MAP, format!("must be a list of NAME:PROTOCOL, {part:?} is none")))?;
            if map
                .insert(name.trim().to_uppercase(), protocol.trim().to_uppercase())
                .is_some()
            {
                return Err((MAP, format!("must name each listener once, {name} stands twice")));
            }
        }
        let plain = if texts.protocol_map_given {
            Vec::new()
        } else {
            controllers.to_vec()
        };
        Ok(Protocols { map, plain })
    }

    fn of(&self, name: &str) -> Result<SecurityProtocol, Wrong> {
        match self.map.get(name).map(String::as_str) {
            Some("PLAINTEXT") => Ok(SecurityProtocol::Plaintext),
            Some(other @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL")) => Err((
                MAP,
                format!("must be PLAINTEXT for {name}: {other} is not offered yet"),
            )),
            Some(other) => Err((
                MAP,
                format!("must be PLAINTEXT for {name}, {other} is no protocol"),
            )),
            None if self.plain.iter().any(|plain| plain == name) => Ok(SecurityProtocol::Plaintext),
            None => Err((
                MAP,
                format!("must say what {name} stands for, as {name}:PLAINTEXT"),
            )),
        }
    }
}
