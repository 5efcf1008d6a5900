//! The faults that a scenario can ask for, and what they can be aimed at.
//!
//! One place per kind: its name, what it may hit, whether it lasts, and whether a real deployment
//! can be given it. How a world inflicts it is that world's business.

use std::fmt;
use std::str::FromStr;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Nothing gets through: data in flight is held, connects hang. Healed after its time.
    Partition,
    /// All connections of the target are reset at once.
    Reset,
    /// The process dies, its kernel lives: peers see resets, the page cache survives. Restarted
    /// after its time.
    Sigkill,
    /// The machine dies: writes that were not synced are lost, peers see silence. Restarted after
    /// its time.
    PowerLoss,
    /// All client connections of the target drop at once, and every client comes back.
    ReconnectStorm,
}

impl FaultKind {
    pub const ALL: [Self; 5] =
        [Self::Partition, Self::Reset, Self::Sigkill, Self::PowerLoss, Self::ReconnectStorm];

    /// Its name in scenario files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Reset => "reset",
            Self::Sigkill => "sigkill",
            Self::PowerLoss => "power_loss",
            Self::ReconnectStorm => "reconnect_storm",
        }
    }

    /// It has an end of its own (`for_s`); the others are over at once.
    pub fn lasts(self) -> bool {
        match self {
            Self::Partition | Self::Sigkill | Self::PowerLoss => true,
            Self::Reset | Self::ReconnectStorm => false,
        }
    }

    /// It takes the process of its target down.
    pub fn stops_node(self) -> bool {
        match self {
            Self::Sigkill | Self::PowerLoss => true,
            Self::Partition | Self::Reset | Self::ReconnectStorm => false,
        }
    }

    /// A real deployment on one machine can be given it: power loss would need a machine to cut.
    pub fn applies_in_real_world(self) -> bool {
        match self {
            Self::Partition | Self::Reset | Self::Sigkill | Self::ReconnectStorm => true,
            Self::PowerLoss => false,
        }
    }

    /// It can be aimed at `target`.
    pub fn accepts(self, target: FaultTarget) -> bool {
        match self {
            Self::Partition | Self::Reset => true,
            Self::Sigkill | Self::PowerLoss => matches!(target, FaultTarget::Node(_)),
            Self::ReconnectStorm => matches!(
                target,
                FaultTarget::Node(NodeRef { role: Role::Gateway, .. })
                    | FaultTarget::ClientsOf(_)
                    | FaultTarget::Clients
            ),
        }
    }

    /// What it can be aimed at, for people.
    pub fn targets(self) -> &'static str {
        match self {
            Self::Partition | Self::Reset => {
                "a node (\"gateway:1\", \"messages:any\"), a link (\"gateway:1-messages:1\"), \
                 \"clients-gateway:1\" or \"clients\""
            }
            Self::Sigkill | Self::PowerLoss => "a node (\"gateway:1\", \"messages:any\")",
            Self::ReconnectStorm => "a gateway (\"gateway:1\", \"gateway:any\") or \"clients\"",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownName)
    }
}

/// The text names nothing that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not known")]
pub struct UnknownName;

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Holds clients' sessions.
    Gateway,
    /// Owns shards: numbers and stores.
    Messages,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Messages => "messages",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One node, or any of its role, drawn for each seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef {
    pub role: Role,
    /// From 1; `None` is "any".
    pub number: Option<u32>,
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{}:{number}", self.role),
            None => write!(f, "{}:any", self.role),
        }
    }
}

impl FromStr for NodeRef {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let (role, which) = text.split_once(':').ok_or(UnknownName)?;
        let role = [Role::Gateway, Role::Messages]
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or(UnknownName)?;
        let number = match which {
            "any" => None,
            // `parse` would take "+1" and "01" too; one node has one spelling.
            digits => {
                let number: u32 = digits.parse().map_err(|_| UnknownName)?;
                Some(number).filter(|_| number.to_string() == digits)
            }
        };
        if which != "any" && number.is_none_or(|number| number == 0) {
            return Err(UnknownName);
        }
        Ok(Self { role, number })
    }
}

/// What a fault is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultTarget {
    /// A node: its process, or everything between it and all others.
    Node(NodeRef),
    /// What runs between two nodes.
    Link(NodeRef, NodeRef),
    /// What runs between the clients and one gateway.
    ClientsOf(NodeRef),
    /// What runs between the clients and all gateways.
    Clients,
}

impl FaultTarget {
    /// The nodes that it names.
    pub fn nodes(self) -> impl Iterator<Item = NodeRef> {
        let (first, second) = match self {
            Self::Node(node) | Self::ClientsOf(node) => (Some(node), None),
            Self::Link(a, b) => (Some(a), Some(b)),
            Self::Clients => (None, None),
        };
        first.into_iter().chain(second)
    }
}

impl fmt::Display for FaultTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{node}"),
            Self::Link(a, b) => write!(f, "{a}-{b}"),
            Self::ClientsOf(gateway) => write!(f, "clients-{gateway}"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

impl FromStr for FaultTarget {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        if text == "clients" {
            return Ok(Self::Clients);
        }
        match text.split_once('-') {
            None => text.parse().map(Self::Node),
            Some(("clients", gateway)) => {
                let gateway: NodeRef = gateway.parse()?;
                if gateway.role == Role::Gateway {
                    Ok(Self::ClientsOf(gateway))
                } else {
                    Err(UnknownName)
                }
            }
            Some((a, b)) => {
                let (a, b): (NodeRef, NodeRef) = (a.parse()?, b.parse()?);
                // Nodes of one role never talk to each other.
                if a.role == b.role { Err(UnknownName) } else { Ok(Self::Link(a, b)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_target_is_read_back_as_it_is_written() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let targets =
            ["gateway:1", "messages:any", "gateway:1-messages:2", "clients-gateway:any", "clients"];
        for text in targets {
            assert_eq!(text.parse::<FaultTarget>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_target_is_refused() {
        let texts = [
            "",
            "gateway",
            "gateway:",
            "gateway:0",
            "gateway:+1",
            "gateway:01",
            "Gateway:1",
            "node:1",
            "gateway:1-gateway:2",
            "clients-messages:1",
            "gateway:1-messages:1-x:2",
            "gateway:99999999999",
            "client",
            "-",
        ];
        for text in texts {
            assert_eq!(text.parse::<FaultTarget>(), Err(UnknownName), "{text:?}");
        }
    }

    #[test]
    fn only_nodes_can_be_killed_and_only_clients_can_storm() {
        let node: FaultTarget = "messages:1".parse().unwrap();
        let link: FaultTarget = "gateway:1-messages:1".parse().unwrap();
        assert!(FaultKind::Sigkill.accepts(node));
        assert!(!FaultKind::PowerLoss.accepts(link));
        assert!(!FaultKind::ReconnectStorm.accepts(node));
        assert!(FaultKind::ReconnectStorm.accepts(FaultTarget::Clients));
        assert!(FaultKind::Partition.accepts(link));
    }
}
