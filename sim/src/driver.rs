//! The virtual users: each carries out its part of the plan through the reference client.

use std::sync::Arc;
use std::time::Duration;

use seriatim_client::{ClientOptions, Handle, start};
use seriatim_engine::entry::Asked;
use seriatim_engine::time::{MonoTime, WallTime};
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_scenarios::history::{ClientIndex, What};
use seriatim_scenarios::plan::{Action, Op, Plan, PlannedUser, earlier};
use seriatim_world::World;

use crate::recorder::{Listener, Recorder};
use crate::slow_reader::SlowNet;
use crate::time::SimTime;

/// A token outlives every run.
const TOKEN_HOURS: u64 = 24 * 365;

/// Browsers let a hidden tab's timers fire once a minute.
const HIDDEN_TAB_TIMER: Duration = Duration::from_secs(60);

/// What the users of one client host need.
#[derive(Clone)]
pub struct Users {
    pub plan: Arc<Plan>,
    pub recorder: Recorder,
    pub token_key: TokenKey,
    /// `host:port` of each gateway, in the plan's order.
    pub gateways: Vec<String>,
    pub gateway_names: Vec<Arc<str>>,
}

impl Users {
    /// Runs the users with these indexes on one host, for ever.
    pub async fn run(self, world: World, indexes: Vec<usize>) {
        for index in indexes {
            let user = self.plan.users.get(index).expect("an index of the plan").clone();
            let client = ClientIndex(u32::try_from(index).expect("users are bounded"));
            let task = self.clone().drive(world.clone(), client, user);
            world.spawn.spawn("user", Box::pin(task));
        }
        std::future::pending().await
    }

    async fn drive(self, world: World, client: ClientIndex, user: PlannedUser) {
        // Client hosts run from the start to the end: their clock is the simulation's.
        let clock = world.clock.clone();
        let mut handle = None;
        for Op { at, action } in &user.operations {
            clock.sleep_until(MonoTime(*at)).await;
            let handle = handle.get_or_insert_with(|| self.connect(&world, client, &user));
            self.act(handle, client, sim_time(clock.mono_now()), action);
        }
        // The client lives as long as its handle.
        std::future::pending().await
    }

    fn connect(&self, world: &World, client: ClientIndex, user: &PlannedUser) -> Handle {
        let workspace = user.key.workspace.clone();
        let expires_at = WallTime(world.clock.wall_now().0 + TOKEN_HOURS * 3_600_000);
        let claims =
            Claims { workspace: workspace.clone(), user: user.key.user.clone(), expires_at };
        let options = ClientOptions {
            token: self.token_key.sign(&claims),
            renew_token: None,
            name: "seriatim-sim".to_owned(),
            gateways: self.gateways.clone(),
            first_gateway: user.home_gateway,
            background_timer: Some(HIDDEN_TAB_TIMER),
        };
        let world = self.world_of(world, client);
        let names = self.gateway_names.clone();
        let mut listener = Listener::new(self.recorder.clone(), client, workspace, names);
        let clock = world.clock.clone();
        let on_event = move |event| listener.heard(sim_time(clock.mono_now()), event);
        let (handle, _task) = start(world, options, on_event);
        handle
    }

    /// The world as the client has it: a slow reader's sockets are slow.
    fn world_of(&self, world: &World, client: ClientIndex) -> World {
        let noise = &self.plan.noise;
        match noise.at {
            Some(from) if noise.slow_readers.contains(&client) => {
                let (bytes_per_s, until) = (noise.slow_bytes_per_s, self.plan.workload_end);
                let clock = world.clock.clone();
                let net = SlowNet { net: world.net.clone(), clock, bytes_per_s, from, until };
                World { net: Arc::new(net), ..world.clone() }
            }
            Some(_) | None => world.clone(),
        }
    }

    fn act(&self, handle: &Handle, client: ClientIndex, at: SimTime, action: &Action) {
        // The client's task runs after this one: what it does is recorded after the invocation.
        // A full inbox means that nothing was sent, and nothing is recorded.
        let what = match action {
            Action::Connect => return,
            Action::Reconnect => {
                // A client whose inbox is full has more than this to catch up with.
                handle.reconnect().ok();
                return;
            }
            Action::GoOffline => {
                handle.go_offline().ok();
                return;
            }
            Action::GoOnline => {
                handle.go_online().ok();
                return;
            }
            // What of it went out, and on which session, the client tells.
            Action::SetPresence { state, background } => {
                handle.set_presence(*state, *background).ok();
                return;
            }
            Action::Watch { users } => {
                handle.watch_presence(users.to_vec()).ok();
                return;
            }
            Action::Type { channel } => {
                if handle.typing(channel.channel.clone()).is_err() {
                    return;
                }
                What::Typed { client, channel: channel.clone() }
            }
            Action::MarkRead { channel } => {
                let Some(seq) = self.recorder.delivered(client, channel) else { return };
                if handle.mark_read(channel.channel.clone(), seq).is_err() {
                    return;
                }
                What::ReadMarked { client, channel: channel.clone(), seq }
            }
            Action::ReadLog { channel, page } => {
                let upto = self.recorder.delivered(client, channel).unwrap_or_default();
                let newest = self.recorder.newest(client, channel).unwrap_or_default();
                let bound = page.bound(upto, newest);
                if handle.read_log(channel.channel.clone(), bound).is_err() {
                    return;
                }
                What::PageAsked { client, channel: channel.clone(), bound }
            }
            Action::ResumeSince { channel, ago } => {
                let Some(newest) = self.recorder.newest(client, channel) else { return };
                let since = earlier(newest, *ago);
                if handle.resume_since(channel.channel.clone(), since).is_err() {
                    return;
                }
                What::Forgot { client, channel: channel.clone(), since }
            }
            Action::Change { channel, nonce, change } => {
                if handle.change(channel.channel.clone(), nonce.clone(), change.clone()).is_err() {
                    return;
                }
                let asked = Asked { nonce: nonce.clone(), wish: change.wish() };
                What::ChangeInvoked { client, channel: channel.clone(), asked }
            }
            Action::Send { channel, nonce, body } => {
                if handle.send(channel.channel.clone(), nonce.clone(), body.clone()).is_err() {
                    return;
                }
                let (channel, nonce, body) = (channel.clone(), nonce.clone(), body.clone());
                What::Invoked { client, channel, nonce, body }
            }
        };
        self.recorder.record(at, what);
    }
}

fn sim_time(now: MonoTime) -> SimTime {
    SimTime::after(now.0)
}

/// Splits `users` over `hosts` evenly.
pub fn share_out(users: usize, hosts: usize) -> Vec<Vec<usize>> {
    (0..hosts).map(|host| (host..users).step_by(hosts).collect()).collect()
}
