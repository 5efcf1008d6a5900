//! Looks at how full the nodes' queues and tables have been, and tells every new peak.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_scenarios::history::What;

use crate::cluster::Cluster;
use crate::recorder::Recorder;
use crate::time::SimTime;

/// The nodes are looked at so often. They remember their peaks between two looks; a process that
/// dies takes with it what it reached since the last one.
const LOOK_US: u64 = 100_000;

/// What has been told of one run's nodes.
#[derive(Debug, Default)]
pub struct Peaks {
    look_at: SimTime,
    told: BTreeMap<(String, &'static str), usize>,
}

impl Peaks {
    /// Looks if it is time to.
    pub fn advance(&mut self, now: SimTime, cluster: &Cluster, recorder: &Recorder) {
        if now >= self.look_at {
            self.look_at = now.plus(LOOK_US);
            self.look(now, cluster, recorder);
        }
    }

    pub fn look(&mut self, now: SimTime, cluster: &Cluster, recorder: &Recorder) {
        for (name, metrics) in &cluster.metrics {
            let node: Arc<str> = name.as_str().into();
            for level in metrics.levels() {
                let told = self.told.entry((name.clone(), level.what)).or_default();
                if level.peak > *told {
                    *told = level.peak;
                    recorder.record(now, What::Peak { node: node.clone(), level });
                }
            }
        }
    }
}
