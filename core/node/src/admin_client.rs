//! Asks a running server's admin routes: one request, one answer, over plain HTTP.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use seriatim_world::{Net as _, clock, real};

use crate::admin_secret;

const SECRET_VARIABLE: &str = "SERIATIM_ADMIN_SECRET";

/// How long one answer may take: longer than the server lets its machines take.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Far above the largest page.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

pub(crate) struct AdminClient {
    address: String,
    secret: String,
}

impl AdminClient {
    /// A client of the server at `address`; the secret is the environment's, or that of the data
    /// folder.
    pub(crate) fn new(address: &str, data: &Path) -> anyhow::Result<Self> {
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let secret = match std::env::var(SECRET_VARIABLE) {
            Ok(secret) => secret.trim().to_owned(),
            Err(_) => admin_secret::read(data)?,
        };
        Ok(Self { address, secret })
    }

    /// Asks for a path below `/v1/admin/`.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let real_clock = real::RealClock::new();
        let answer = async {
            let exchange = self.exchange(method, path, body);
            match clock::timeout(&real_clock, ANSWER_TIME, exchange).await {
                Ok(answer) => answer,
                Err(clock::TimedOut) => bail!("no answer within {} s", ANSWER_TIME.as_secs()),
            }
        };
        let (status, body) =
            runtime.block_on(answer).with_context(|| format!("asking {}", self.address))?;
        if status != 200 {
            bail!("the server at {} refused, {status}: {}", self.address, body.trim());
        }
        serde_json::from_str(&body).with_context(|| format!("{} sent no JSON", self.address))
    }

    /// Waits before another question.
    pub(crate) fn pause(&self, time: Duration) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { clock::sleep(&real::RealClock::new(), time).await });
        Ok(())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, String)> {
        let Self { address, secret } = self;
        let method = match method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} /v1/admin/{path} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {secret}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let remedy = "is the server running there? Give its --http address, or where clients \
                      connect, with --address";
        let mut stream = real::RealNet.connect(address).await.context(remedy)?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer).context("the answer is not text")?;
        let remedy = "the answer is not HTTP; if the server speaks TLS to clients, start it with \
                      --http 127.0.0.1:7401 and ask there";
        let (head, body) = answer.split_once("\r\n\r\n").context(remedy)?;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok()).context(remedy)?;
        Ok((status, body.to_owned()))
    }
}
