//! What a WebSocket peer can do wrong, and the close code each mistake is answered with.
//!
//! Every error ends its connection: the driver sends a close frame with
//! [`ProtocolError::close_code`] and the error's text as the reason, then closes the socket.

use super::decoder::FRAGMENTS_MAX;
use super::frame::CONTROL_BYTES_MAX;

/// Why the bytes of a peer are not WebSocket frames that we accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("a frame has reserved bits set, but no extension was negotiated")]
    ReservedBits,
    #[error("a frame has the reserved opcode {opcode:#x}")]
    ReservedOpcode { opcode: u8 },
    #[error("a client's frame is not masked")]
    MissingMask,
    #[error("a server's frame is masked")]
    UnexpectedMask,
    #[error("a control frame is fragmented")]
    FragmentedControl,
    #[error("a control frame has more than {CONTROL_BYTES_MAX} bytes")]
    ControlTooLong,
    #[error("a frame's length is not in its shortest form")]
    LengthNotMinimal,
    #[error("a frame's 64-bit length has its top bit set")]
    LengthTopBit,
    #[error("a continuation frame continues nothing")]
    UnexpectedContinuation,
    #[error("a new message starts inside a fragmented one")]
    ExpectedContinuation,
    #[error("a close frame has one byte; it needs none, or a code of two bytes and a reason")]
    CloseTruncated,
    #[error("a close frame has the code {code}, which must not be sent")]
    CloseCode { code: u16 },
    #[error("a close frame's reason is not UTF-8")]
    CloseReasonNotUtf8,
    #[error("a text message is not UTF-8")]
    TextNotUtf8,
    #[error("a message of {bytes} bytes or more exceeds the limit of {bytes_max}")]
    MessageTooBig { bytes: u64, bytes_max: usize },
    #[error("a message has more than {FRAGMENTS_MAX} fragments")]
    TooManyFragments,
}

impl ProtocolError {
    /// The code of the close frame to answer with: 1002 (protocol error), 1007 (bad text) or 1009
    /// (too big).
    pub fn close_code(&self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode { .. }
            | Self::MissingMask
            | Self::UnexpectedMask
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseTruncated
            | Self::CloseCode { .. } => 1002,
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 => 1007,
            Self::MessageTooBig { .. } | Self::TooManyFragments => 1009,
        }
    }
}
