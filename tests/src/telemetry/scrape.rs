//! Reading `/metrics` as Prometheus does.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What was read.
#[derive(Clone, Debug)]
pub struct Scraped {
    /// The header by which Prometheus knows the format.
    pub content_type: String,
    /// The samples, one a line.
    pub text: String,
}

impl Scraped {
    /// The value of `metric` for these labels (each as `name="value"`), summed over all others; `None` if it is not shown.
    pub fn value(&self, metric: &str, labels: &[&str]) -> Option<f64> {
        let samples = self.text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            let fits = name == metric && labels.iter().all(|label| series.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.reduce(|sum, value| sum + value)
    }
}

/// One request to `/metrics`.
pub async fn scrape(address: SocketAddr) -> anyhow::Result<Scraped> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, text) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "answered with {head}");
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    Ok(Scraped {
        content_type: content_type.unwrap_or_default().to_owned(),
        text: text.to_owned(),
    })
}
