//! What a fault can be aimed at.

use std::fmt;
use std::str::FromStr;

use super::UnknownName;

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
    /// What runs between the clients and all gateways; the clients themselves.
    Clients,
    /// Every node of a role.
    All(Role),
    /// Every node, and what runs between them.
    Cluster,
}

impl FaultTarget {
    /// The nodes that it names.
    pub fn nodes(self) -> impl Iterator<Item = NodeRef> {
        let (first, second) = match self {
            Self::Node(node) | Self::ClientsOf(node) => (Some(node), None),
            Self::Link(a, b) => (Some(a), Some(b)),
            Self::Clients | Self::All(_) | Self::Cluster => (None, None),
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
            Self::All(role) => write!(f, "{role}:all"),
            Self::Cluster => f.write_str("cluster"),
        }
    }
}

impl FromStr for FaultTarget {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "clients" => return Ok(Self::Clients),
            "cluster" => return Ok(Self::Cluster),
            "gateway:all" => return Ok(Self::All(Role::Gateway)),
            "messages:all" => return Ok(Self::All(Role::Messages)),
            _ => {}
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
    fn every_target_is_read_back_as_it_is_written() {
        let targets = [
            "gateway:1",
            "messages:any",
            "gateway:1-messages:2",
            "clients-gateway:any",
            "clients",
            "gateway:all",
            "messages:all",
            "cluster",
        ];
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
            "clients-gateway:all",
            "gateway:1-messages:1-x:2",
            "gateway:99999999999",
            "client",
            "-",
        ];
        for text in texts {
            assert_eq!(text.parse::<FaultTarget>(), Err(UnknownName), "{text:?}");
        }
    }
}
