//! A network that lets plain requests through, and WebSockets only while it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seriatim_world::spawn::TaskGroup;
use seriatim_world::{BoxStream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::sync::watch;

const REFUSAL: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Between a browser and its server, as long as it lives.
pub(crate) struct Middlebox {
    /// Where it listens.
    pub(crate) address: String,
    blocks: watch::Sender<bool>,
    /// How many WebSockets were refused.
    refused: Arc<AtomicUsize>,
    _tasks: TaskGroup,
}

/// What carries one connection.
struct Carrier {
    world: World,
    server: String,
    blocks: watch::Receiver<bool>,
    refused: Arc<AtomicUsize>,
}

impl Middlebox {
    pub(crate) async fn start(world: &World, server: &str) -> Self {
        let mut listener = world.net.bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_address();
        let (blocks, seen) = watch::channel(false);
        let refused = Arc::<AtomicUsize>::default();
        let (outer, server, counted) = (world.clone(), server.to_owned(), refused.clone());
        let accept = async move {
            let mut tasks = TaskGroup::default();
            while let Ok((stream, _)) = listener.accept().await {
                let (world, server) = (outer.clone(), server.clone());
                let (blocks, refused) = (seen.clone(), counted.clone());
                let carrier = Carrier { world, server, blocks, refused };
                tasks.add(outer.spawn.spawn("carried", Box::pin(carrier.carry(stream))));
            }
        };
        let mut tasks = TaskGroup::default();
        tasks.add(world.spawn.spawn("middlebox", Box::pin(accept)));
        Self { address, blocks, refused, _tasks: tasks }
    }

    /// From now on no WebSocket comes through; those that are open are cut. Or they do again.
    pub(crate) fn block(&self, blocks: bool) {
        self.blocks.send_replace(blocks);
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Carrier {
    /// What fails, ends the connection: that is what the browser sees.
    async fn carry(mut self, mut client: BoxStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            if !client.read_buf(&mut head).await.is_ok_and(|count| count > 0) {
                return;
            }
        }
        let is_socket =
            String::from_utf8_lossy(&head).to_lowercase().contains("upgrade: websocket");
        if is_socket && *self.blocks.borrow_and_update() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            drop(client.write_all(REFUSAL.as_bytes()).await);
            return;
        }
        let Ok(mut server) = self.world.net.connect(&self.server).await else { return };
        if server.write_all(&head).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            _ = self.blocks.wait_for(|blocks| *blocks), if is_socket => {}
            _ = copy_bidirectional(&mut client, &mut server) => {}
        }
    }
}
