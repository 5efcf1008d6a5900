//! A disk whose syncs are timed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use seriatim_engine::ids::ShardId;
use seriatim_world::{BoxFuture, Clock, Disk, DiskFile, World};

use super::Metrics;

/// The world's disk, seen by the store of one shard.
pub(crate) struct MeasuredDisk {
    disk: Arc<dyn Disk>,
    gauge: Gauge,
}

#[derive(Clone)]
struct Gauge {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    shard: ShardId,
}

struct MeasuredFile {
    file: Box<dyn DiskFile>,
    gauge: Gauge,
}

impl MeasuredDisk {
    pub(crate) fn new(world: &World, metrics: &Metrics, shard: ShardId) -> Self {
        let gauge = Gauge { clock: world.clock.clone(), metrics: metrics.clone(), shard };
        Self { disk: world.disk.clone(), gauge }
    }

    fn measured<'a>(
        &'a self,
        file: BoxFuture<'a, io::Result<Box<dyn DiskFile>>>,
    ) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        let gauge = self.gauge.clone();
        Box::pin(async move {
            let file = file.await?;
            Ok(Box::new(MeasuredFile { file, gauge }) as Box<dyn DiskFile>)
        })
    }
}

impl Disk for MeasuredDisk {
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        self.measured(self.disk.open(name))
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        self.measured(self.disk.create(name))
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        self.disk.list()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.disk.rename(from, to)
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> BoxFuture<'_, io::Result<()>> {
        self.disk.sync_directory()
    }
}

impl MeasuredFile {
    fn timed<'a>(&'a self, sync: BoxFuture<'a, io::Result<()>>) -> BoxFuture<'a, io::Result<()>> {
        let Gauge { clock, metrics, shard } = &self.gauge;
        let began_at = clock.mono_now();
        Box::pin(async move {
            sync.await?;
            let took = clock.mono_now() - began_at;
            metrics.owner(*shard, |owner| owner.fsync.record_time(took));
            Ok(())
        })
    }
}

impl DiskFile for MeasuredFile {
    fn length(&self) -> BoxFuture<'_, io::Result<u64>> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        self.file.read_at(offset, length)
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        self.file.write_at(offset, bytes)
    }

    fn set_length(&self, length: u64) -> BoxFuture<'_, io::Result<()>> {
        self.file.set_length(length)
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        self.timed(self.file.sync())
    }

    fn write_and_sync(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        self.timed(self.file.write_and_sync(offset, bytes))
    }
}
