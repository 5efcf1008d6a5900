//! Tests of the server program as it ships: real processes, sockets and files.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod chat_page;
#[cfg(test)]
mod check;
#[cfg(test)]
mod damaged_log;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod exposure;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill_loop;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod middlebox;
#[cfg(test)]
mod misbehaviour;
#[cfg(test)]
mod page_client;
#[cfg(test)]
mod page_fallback;
#[cfg(test)]
mod plain_http;
#[cfg(test)]
mod polled;
#[cfg(test)]
mod process;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod slow_consumers;
#[cfg(test)]
mod strict_client;
#[cfg(test)]
mod third_party_clients;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trimmed_log;
#[cfg(test)]
mod user;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod workspaces;
