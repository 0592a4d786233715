//! A server that answers each request with the bytes that a test chose.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Listens on `address` and answers every request with what `answer` makes of its path, until the
/// test ends. Returns the address, for a port that was 0.
pub async fn serve(
    address: SocketAddr,
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            // A connection that breaks ends its task and nothing else.
            tokio::spawn(async move { converse(connection, &*answer).await });
        }
    });
    Ok(address)
}

/// An answer with a length.
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

async fn converse(
    connection: TcpStream,
    answer: &(dyn Fn(&str) -> String + Sync),
) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            connection.read_line(&mut line).await?;
            match line.trim_end().split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap_or_default();
                }
                Some(_) => {}
            }
        }
        connection.read_exact(&mut vec![0; length]).await?;
        connection.write_all(answer(&path).as_bytes()).await?;
    }
}
