//! Every limit of the core, with the reason for its value and what happens when it is hit.

use std::time::Duration;

/// Long enough for a host name or a UUID, short enough to index. Longer: the frame is rejected.
pub const NAME_BYTES_MAX: usize = 64;

/// A UUID has 36 bytes; ULIDs and hashes fit too. Longer: the frame is rejected.
pub const NONCE_BYTES_MAX: usize = 64;

/// Four times what Slack's real-time API let a client send in one message. Longer: rejected.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// A body in the worst JSON escaping (6 bytes a byte) would need 96 KiB, but a client that sends
/// control characters only may split them. Longer frames close the connection with 1009.
pub const CLIENT_FRAME_BYTES_MAX: usize = 64 * 1024;

/// What is said of a bad frame. The parser repeats the value that it did not expect, escaped to up
/// to seven times its size; longer explanations are cut.
pub const FRAME_ERROR_BYTES_MAX: usize = 512;

/// A full page of entries, escaped. Only our own client reads with it.
pub const SERVER_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Requests and replies of a browser's handshake with cookies stay well below. Larger: 431.
pub const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;

/// Headers of one request. Browsers send about 20 and proxies add some of their own. More: 431.
pub const HEADERS_MAX: usize = 64;

/// A phone on a bad network finishes its handshake, or a plain request with its body, in it; a
/// slowloris is closed after it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes that one gateway has open at a time. More wait in the kernel's queue, so that a
/// reconnect storm can't take memory.
pub const HANDSHAKES_MAX: usize = 1_024;

/// Connections of one gateway that carry plain HTTP requests. Each may hold a head and a body. More:
/// answered with 503 and a time to come back.
pub const HTTP_CONNECTIONS_MAX: usize = 2_048;

/// The body of a plain request: what a client may send in one frame. Larger: 413.
pub const HTTP_BODY_BYTES_MAX: usize = CLIENT_FRAME_BYTES_MAX;

/// How long a connection may wait for its next plain request; monitoring asks every 15 s or so.
/// Then it is closed.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Sessions of one gateway whose clients poll. At most one poll of each waits, so that the other half
/// of the plain connections is left for what doesn't. More: answered with 503 and a time to come
/// back.
pub const POLL_SESSIONS_MAX: usize = HTTP_CONNECTIONS_MAX / 2;

/// A poll waits no longer: proxies give up on answers that take 30 s. Then it is answered without
/// frames.
pub const POLL_WAIT_MAX: Duration = Duration::from_secs(25);

/// The frames of one answer to a poll, and those that are collected for the next: as many bytes each,
/// and at most one read more. Then the session's queue fills, as of any session that reads slowly.
pub const POLL_BATCH_BYTES_MAX: usize = SESSION_QUEUE_BYTES_MAX;

/// A session whose client does not poll for so long is ended, as if its socket had been closed. Above
/// the timers of a hidden browser tab, which fire once a minute.
pub const POLL_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long the peer may take to read an answer. Then the connection is closed.
pub const HTTP_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the log shows of a client's name for itself, in characters. The rest is cut.
pub const LOGGED_CLIENT_CHARS_MAX: usize = 64;

/// A secret shorter than the hash is easier to guess than the hash (RFC 7518 §3.2). Shorter: the
/// server does not start.
pub const SECRET_BYTES_MIN: usize = 32;

/// Our claims need under 400 bytes; other issuers add some of their own. Longer: refused unread.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Keys that verify tokens: the one in use, the one before it, and some that were forgotten. A token
/// that names none is tried with each. More: the file is refused.
pub const TOKEN_KEYS_MAX: usize = 8;

/// Rows of each table from which traces are told, of one gateway and of one shard: an hour of 18 entries
/// a second, some 5 MB when full. More: the oldest are forgotten, and an older entry is told without
/// its times.
pub const TRACE_ROWS_MAX: usize = 65_536;

/// Rows of one answer to an operator: a few screens, and a fraction of a millisecond of a machine's
/// time. A request for more gets this many, and where to go on.
pub const ADMIN_ROWS_MAX: usize = 200;

/// Rows that a machine goes through for one answer to an operator: below a millisecond or two. Where
/// it would take more, the answer says that it didn't look further, or ends early and tells where to
/// go on.
pub const ADMIN_LOOKS_MAX: usize = 20_000;

/// Answers to operators in the making at one node: a few people and a few scripts. More: 503 with a
/// time to come back.
pub const ADMIN_REQUESTS_MAX: usize = 8;

/// How long a machine may take to answer an operator; an owner whose store is being opened takes none
/// of its inputs. Longer: 503.
pub const ADMIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a token may be good for that an operator mints by HTTP: as long as anybody should trust
/// one. Longer: refused.
pub const ADMIN_TOKEN_HOURS_MAX: u64 = 366 * 24;

/// Clients of a gateway that is drained come back to others within so long, each at a time of its own:
/// 19,500 of them, 4 a millisecond. An operator may say otherwise.
pub const DRAIN_SPREAD: Duration = Duration::from_secs(5);

/// The longest spread of a drain that an operator may ask for: who is sent away for longer would think
/// that the service is gone. Longer: refused.
pub const DRAIN_SPREAD_MAX: Duration = Duration::from_secs(600);

/// Connections to a node's port for operators, and handshakes on them: monitoring and a few people.
/// They are apart from those of clients, so that a crowd keeps nobody from looking. More wait, or get
/// 503.
pub const OPERATIONS_CONNECTIONS_MAX: usize = 64;

/// Channels that one `hello` may resume. More: the frame is rejected.
pub const RESUME_CHANNELS_MAX: usize = 1_000;

/// Channels that one user may be a member of: what one `hello` may resume. More: rejected as
/// `forbidden`.
pub const CHANNELS_OF_USER_MAX: usize = RESUME_CHANNELS_MAX;

/// How long a request that was refused for what may change (who is a member, for one) stays
/// refused, whatever becomes of its user: longer than a connection may stay that nobody hears of, on
/// which an earlier attempt may be held back.
pub const REFUSAL_KEPT: Duration = Duration::from_secs(300);

/// Refused requests that a shard's owner remembers, 64 bytes each. More: rejected as `busy`, which is
/// final for nobody.
pub const REFUSALS_MAX: usize = 16_384;

/// Members that `create_channel` may name, its sender included: the entry that names them stays
/// smaller than a message. More: rejected as `bad_members`; others are added one by one.
pub const CREATED_MEMBERS_MAX: usize = 100;

/// Entries of one page. A request for more gets this many and `more: true`.
pub const PAGE_ENTRIES_MAX: usize = 100;

/// Channels in one answer to `list_channels`: with the longest names a third of what a page of history
/// may hold. A request for more gets this many and `more: true`.
pub const CHANNELS_LISTED_MAX: usize = 100;

/// Bytes of bodies in one page, so that a page of long messages fits the link and the session's
/// queue. A page holds at least one entry, whatever its size.
pub const PAGE_BYTES_MAX: usize = 48 * 1024;

/// What one store commit may hold. The next one fills while it is written.
pub const STORE_BATCH_MAX: usize = 1_024;

/// Entries of one channel that wait for the store: two full commits, one being written while the
/// next fills. More: rejected as `busy` with a time to retry after.
pub const IN_FLIGHT_MAX: usize = 2 * STORE_BATCH_MAX;

/// How long a nonce is remembered. A retry within it gets its first seq.
pub const NONCE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The least that a log may be told to keep: an eighth of it, which is one file of it at most, holds
/// some thousand of the largest messages, so a burst does not push out what was just said. Less: the
/// server does not start.
pub const RETAINED_BYTES_MIN: u64 = 64 << 20;

/// Pages of one shard that a gateway's sessions may have on their way from the log together. More
/// wait for their turn, so that a crowd that comes back shares the owner with those that send.
pub const CATCH_UP_READS_MAX: usize = 16;

/// How long a page that could not be read rests before a gateway asks for it again: a moment, for a
/// disk that failed once. Doubled each time.
pub const PAGE_REST_MIN: Duration = Duration::from_millis(500);

/// The longest rest of such a page: a damaged part of the log costs a read in so long for each
/// position at which sessions wait, and who repairs it sees them go on soon.
pub const PAGE_REST_MAX: Duration = Duration::from_secs(30);

/// Frames of one channel that are due together are joined up to so many bytes: one write carries
/// them. Longer: another run.
pub const RUN_BYTES_MAX: usize = 16 * 1024;

/// Bytes queued for one session. Over it, the session leaves live delivery and is served from the
/// log at its own pace.
pub const SESSION_QUEUE_BYTES_MAX: usize = 64 * 1024;

/// Bytes queued for one session in all, with what does not wait in the log: replies to what it asked,
/// its channels, and what other sessions of its user do. More than all that it can have asked for:
/// it does not read what concerns it, so its connection is closed, and it can resume.
pub const SESSION_BACKLOG_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Below it, a session that was too slow is served again.
pub const SESSION_QUEUE_BYTES_LOW: usize = SESSION_QUEUE_BYTES_MAX / 4;

/// A socket that takes no byte for so long is closed; the client can resume.
pub const SESSION_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients ping at this interval when they have nothing else to say.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Three heartbeats without a frame: the session is closed.
pub const SESSION_IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// A session in the background may be a hidden browser tab, whose timers fire once a minute: three
/// of those without a frame, and it is closed.
pub const SESSION_IDLE_BACKGROUND_TIMEOUT: Duration = Duration::from_secs(180);

/// A session without a sign of life for so long no longer counts for its user's presence: two
/// heartbeats, so that one may be lost and a client may reconnect without being called offline.
pub const PRESENCE_TTL: Duration = Duration::from_secs(30);

/// The same for a session in the background: a throttled minute and half of another.
pub const PRESENCE_BACKGROUND_TTL: Duration = Duration::from_secs(90);

/// Sessions that have run out are looked for so often: offline is seen this much later at most.
pub const PRESENCE_SWEEP: Duration = Duration::from_secs(1);

/// A gateway collects signs of life for so long and sends them together; several of one session
/// are one. More often than that, no session can change its user's state.
pub const PRESENCE_COALESCE: Duration = Duration::from_secs(1);

/// An owner that has just started says of nobody that they are less present than was told before:
/// the longest time for which a session that it has forgotten could still have counted.
pub const PRESENCE_GRACE: Duration = PRESENCE_BACKGROUND_TTL;

/// Users whom one session may watch: those whom a client shows at a time. More: rejected as
/// `bad_frame`, and the earlier list stays.
pub const PRESENCE_WATCHED_MAX: usize = 500;

/// Beats, or sessions told, in one link frame: 4,096 of the longest names are a sixth of
/// [`LINK_FRAME_BYTES_MAX`]. More: further frames.
pub const PRESENCE_BATCH_MAX: usize = 4_096;

/// Last signs of life of sessions that have ended, kept for a link that is down. More: the oldest
/// are forgotten, and those users may be called offline some seconds early.
pub const PRESENCE_PARTING_MAX: usize = 4_096;

/// `typing` frames of one session for one channel are this far apart. Sooner: dropped and counted.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(3);

/// An owner collects read positions for so long and makes them durable together: of a reader who
/// scrolls, few are of interest, and a note costs a sync.
pub const READ_COALESCE: Duration = Duration::from_secs(1);

/// A client says of one channel only so often how far its user has read. It keeps the last position.
pub const CLIENT_READ_INTERVAL: Duration = Duration::from_secs(1);

/// How long `hello` may wait for the owner's answer before the session is told to come back.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Sessions of one gateway process; the file-descriptor limit leaves no room for more. More: the
/// connection is told to come back.
pub const SESSIONS_MAX: usize = 19_500;

/// What the kernel holds of bytes that a client does not take (it doubles the figure): left to
/// itself it takes 4 MiB of each stuck client before it lets us know. More waits in the session's
/// queue.
pub const CLIENT_SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Encrypted bytes that one stream keeps for a socket that takes none. More waits in the session's
/// queue, unencrypted, where it is counted and shared.
pub const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Requests that one session may have open. More: rejected as `busy`.
pub const SESSION_REQUESTS_MAX: usize = 256;

/// Pages of history that one session may have on their way: each may hold [`PAGE_BYTES_MAX`]. More:
/// rejected as `busy`.
pub const SESSION_PAGES_MAX: usize = 4;

/// Requests of one user at one gateway, a second in the long run: ten times what a busy bot sends.
/// More: rejected as `rate_limited` with a time to retry after. Configurable.
pub const USER_RATE_MAX: u32 = 200;

/// Requests of one user at one gateway at once, after a quiet time: a client that comes back sends
/// what it could not, and our own keeps [`CLIENT_OUTSTANDING_MAX`]. More: as [`USER_RATE_MAX`].
pub const USER_BURST_MAX: u32 = 2_000;

/// Requests of one workspace at one gateway, a second in the long run: one workspace leaves room for
/// others in what a core numbers. More: as [`USER_RATE_MAX`]. Configurable.
pub const WORKSPACE_RATE_MAX: u32 = 10_000;

/// As [`USER_BURST_MAX`], for a workspace whose members come back together.
pub const WORKSPACE_BURST_MAX: u32 = 40_000;

/// Users, and workspaces, whose rate one gateway keeps: those that asked for something lately, of
/// all its sessions. More: who has used least of their rate is forgotten, and starts afresh.
pub const RATE_BUCKETS_MAX: usize = SESSIONS_MAX;

/// Requests for one shard without an answer at one gateway: eight full commits. More: rejected as
/// `busy` with a time to retry after.
pub const SHARD_REQUESTS_MAX: usize = 8 * STORE_BATCH_MAX;

/// Bytes of the requests for one shard without an answer at one gateway: half of what its link may
/// have queued. More: as [`SHARD_REQUESTS_MAX`].
pub const SHARD_REQUEST_BYTES_MAX: usize = LINK_QUEUE_BYTES_MAX / 2;

/// Pages of history for requests, on their way to one gateway from one shard: a sixth of what the
/// link may have queued, and work for the owner's disk. More: as [`SHARD_REQUESTS_MAX`].
pub const SHARD_PAGES_MAX: usize = 96;

/// Sessions that resume by time and wait until one shard has found their positions, at one gateway.
/// Their frames fill a half of what the link may have queued, and the owner looks for one after the
/// other. More: `goodbye`, `unavailable`, with a time to come back after.
pub const SHARD_LOCATES_MAX: usize = LINK_QUEUE_BYTES_MAX / 2 / CLIENT_FRAME_BYTES_MAX;

/// Pages that an owner reads for one link at a time: all that a gateway asks for. More: rejected as
/// `busy`.
pub const LINK_READS_MAX: usize = CATCH_UP_READS_MAX + SHARD_PAGES_MAX;

/// How long the oldest request for a shard may wait for its answer: far above what a sound disk
/// takes, and well below [`REPLY_TIMEOUT`]. Longer: new requests for the shard are rejected as
/// `busy` until the owner has caught up.
pub const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(2);

/// Links between nodes are pinged at this interval.
pub const LINK_HEARTBEAT: Duration = Duration::from_secs(1);

/// A link silent for so long is taken for dead, closed and dialled again. Three heartbeats and
/// room for one retransmission.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(4);

/// How long dialling a link may take.
pub const LINK_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The wait between two attempts to dial a link grows to this, with jitter.
pub const LINK_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A link frame carries one page, one published batch or one user's channels at most, each of which
/// stays well below. Larger: the link is closed.
pub const LINK_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries that are published in one link frame: a full commit of ordinary messages, or sixteen of
/// the longest, so that no gateway is busy with one frame for long. More: further frames.
pub const LINK_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Bytes queued on one link. Over it the link is closed and dialled again, and its gateway
/// catches up from the log: a stalled gateway must not stop an owner.
pub const LINK_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Inputs that wait for a machine. Full: whoever reads the socket waits, and TCP pushes back.
pub const INBOX_MAX: usize = 4_096;

/// A client waits this long for a reply before it sends again with the same nonce.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that hears nothing for so long reconnects: one heartbeat and a reply's time.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(20);

/// The same for a client in the background, whose timers may fire once a minute: that minute and a
/// reply's time on either side.
pub const CLIENT_SILENCE_BACKGROUND_MAX: Duration = Duration::from_secs(80);

/// How long a client waits for a connection, its handshake and `welcome` together.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's first wait before it reconnects; doubled at each failure, with full jitter.
pub const CLIENT_BACKOFF_MIN: Duration = Duration::from_millis(250);

/// A client's longest wait before it reconnects.
pub const CLIENT_BACKOFF_MAX: Duration = Duration::from_secs(8);

/// Messages that a client sends before it waits for replies. More are refused by `send`.
pub const CLIENT_OUTSTANDING_MAX: usize = 1_024;

/// Messages that a client holds back behind a gap, per channel. More: it reconnects and resumes.
pub const CLIENT_REORDER_MAX: usize = 1_024;

const _: () = assert!(POLL_WAIT_MAX.as_millis() < POLL_IDLE_TIMEOUT.as_millis());
const _: () = assert!(SESSION_QUEUE_BYTES_LOW < SESSION_QUEUE_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX < SESSION_QUEUE_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < PAGE_BYTES_MAX);
const _: () = assert!(CHANNELS_LISTED_MAX * (NAME_BYTES_MAX + 64) < PAGE_BYTES_MAX);
const _: () = assert!(LINK_BATCH_BYTES_MAX + 2 * BODY_BYTES_MAX < LINK_FRAME_BYTES_MAX);
const _: () = assert!(CREATED_MEMBERS_MAX * (NAME_BYTES_MAX + 1) < BODY_BYTES_MAX);
// As bytes of a link, with entries that name many members instead of long bodies.
const _: () = assert!(LINK_READS_MAX * 2 * PAGE_BYTES_MAX < LINK_QUEUE_BYTES_MAX / 2);
// Its pages of history in the worst JSON escaping, and its channels.
const _: () = assert!(
    SESSION_PAGES_MAX * 6 * (PAGE_BYTES_MAX + BODY_BYTES_MAX) + CHANNELS_OF_USER_MAX * 256
        < SESSION_BACKLOG_BYTES_MAX
);
const _: () = assert!(LINK_HEARTBEAT.as_millis() * 3 < LINK_TIMEOUT.as_millis());
const _: () = assert!(
    SESSION_IDLE_BACKGROUND_TIMEOUT.as_millis() + 2 * LINK_TIMEOUT.as_millis()
        < REFUSAL_KEPT.as_millis()
);
const _: () = assert!(SESSION_IDLE_TIMEOUT.as_millis() == 3 * HEARTBEAT.as_millis());
const _: () = assert!(CLIENT_OUTSTANDING_MAX < USER_BURST_MAX as usize);
const _: () = assert!(ADMISSION_WAIT_MAX.as_millis() < REPLY_TIMEOUT.as_millis());
const _: () = assert!(2 * HEARTBEAT.as_millis() <= PRESENCE_TTL.as_millis());
const _: () = assert!(PRESENCE_BACKGROUND_TTL.as_millis() <= PRESENCE_GRACE.as_millis());
// A watched list of the longest names fits a client's frame.
const _: () = assert!(PRESENCE_WATCHED_MAX * (NAME_BYTES_MAX + 3) < CLIENT_FRAME_BYTES_MAX);
