//! A socket that counts what its peer sends.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::io::InspectReader;

use super::{activity::Activity, registry::PROCESS};

/// A socket that counts received bytes in the activity of its connection.
// hyper does not expose how much of a head it has buffered. The socket is below TLS, so that a part
// of a handshake counts too. Vectored writes pass through: otherwise hyper would copy each response
// into one buffer, where nothing counts it as unread.
pub(super) type CountingStream = InspectReader<TcpStream, OnReceived>;

type OnReceived = Box<dyn FnMut(&[u8]) + Send>;

/// Wraps a socket so that received bytes are counted.
pub(super) fn count_received(stream: TcpStream, activity: &Arc<Activity>) -> CountingStream {
    let activity = Arc::clone(activity);
    let count: OnReceived = Box::new(move |received: &[u8]| {
        // Empty once the peer has closed its side.
        if !received.is_empty() {
            activity.receive(received.len());
            PROCESS.limit_heads();
        }
    });
    InspectReader::new(stream, count)
}
