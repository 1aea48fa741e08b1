//! Requests that an API server has answered, by its own metrics.

use std::collections::BTreeMap;

use anyhow::Result;
use http::Request;
use kube::Client;

/// Kind of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Verb as the metric has it: `LIST`, `APPLY`, `PATCH`.
    pub verb: String,
    /// Plural of the resource, with the subresource if there is one.
    pub resource: String,
}

/// Number of requests by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<Kind, u64>);

impl Requests {
    /// Reads the counters of `client`'s API server.
    pub async fn read(client: &Client) -> Result<Self> {
        Ok(Self::parse(&client.request_text(Request::get("/metrics").body(Vec::new())?).await?))
    }

    /// Sums `apiserver_request_total` over all labels but verb, resource and subresource.
    fn parse(metrics: &str) -> Self {
        let mut requests = BTreeMap::new();
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
            let (Some(verb), Some(resource), Some(count)) = (label(",verb"), label(",resource"), count)
            else {
                continue;
            };
            let subresource = label(",subresource").filter(|name| !name.is_empty());
            let resource = subresource.map_or(resource.to_owned(), |name| format!("{resource}/{name}"));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of requests"
            )]
            let count = count as u64;
            *requests.entry(Kind { verb: verb.to_owned(), resource }).or_default() += count;
        }
        Self(requests)
    }

    /// The requests since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let since = self.0.iter().map(|(kind, count)| {
            (kind.clone(), count.saturating_sub(earlier.0.get(kind).copied().unwrap_or_default()))
        });
        Self(since.filter(|(_, count)| *count > 0).collect())
    }

    /// Requests with this verb, by resource.
    pub fn of(&self, verb: &str) -> BTreeMap<String, u64> {
        let found = self.0.iter().filter(|(kind, _)| kind.verb == verb);
        found.map(|(kind, count)| (kind.resource.clone(), *count)).collect()
    }

    /// Number of requests that change this resource or one of its subresources.
    pub fn writes(&self, resource: &str) -> u64 {
        let is_write = |kind: &&Kind| {
            let name = kind.resource.split('/').next().unwrap_or_default();
            name == resource && !matches!(&*kind.verb, "GET" | "LIST" | "WATCH")
        };
        self.0.iter().filter(|(kind, _)| is_write(kind)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# HELP x\n\
        apiserver_request_total{code=\"200\",group=\"\",resource=\"pods\",subresource=\"\",verb=\"LIST\"} 500\n\
        apiserver_request_total{code=\"410\",group=\"\",resource=\"pods\",subresource=\"\",verb=\"LIST\"} 1\n\
        apiserver_request_total{code=\"200\",group=\"\",resource=\"nodes\",subresource=\"\",verb=\"LIST\"} 1.2e+01\n\
        apiserver_request_total{code=\"200\",group=\"\",resource=\"pods\",subresource=\"status\",verb=\"PATCH\"} 7\n\
        apiserver_request_total{code=\"201\",group=\"\",resource=\"pods\",subresource=\"\",verb=\"POST\"} 2\n";

    #[test]
    fn requests_are_summed_by_verb_and_resource() {
        let requests = Requests::parse(METRICS);
        let lists = BTreeMap::from([("nodes".to_owned(), 12), ("pods".to_owned(), 501)]);
        assert_eq!(requests.of("LIST"), lists);
        assert_eq!((requests.writes("pods"), requests.writes("nodes")), (9, 0));
        let later = Requests::parse(&METRICS.replace("} 7", "} 10"));
        assert_eq!(later.since(&requests).0.len(), 1);
        assert_eq!(later.since(&requests).writes("pods"), 3);
    }
}
