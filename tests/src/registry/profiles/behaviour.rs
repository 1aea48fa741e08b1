//! Everything that varies between products.

use http::StatusCode;

/// Answers of a product. URLs are templates: `{registry}`, `{token}` and `{storage}` become the origins of the
/// server, `{host}` the registry's host, `{name}` the repository, `{id}` and `{state}` an upload's session.
#[derive(Debug)]
pub struct Behaviour {
    /// Name of the suite's repository. It exists, and anonymous clients may not read it.
    pub repository: &'static str,
    /// Name of a repository that the first push creates.
    pub new_repository: &'static str,
    /// Components that a repository's name needs at least.
    pub name_components: usize,
    /// Login.
    pub login: Login,
    /// Blobs.
    pub blobs: Blobs,
    /// Uploads.
    pub uploads: Uploads,
    /// Manifests.
    pub manifests: Manifests,
    /// Lists of tags.
    pub tags: Tags,
    /// Lists of referrers.
    pub referrers: Referrers,
    /// Format of errors.
    pub errors: ErrorFormat,
}

/// Login of a product.
#[derive(Debug)]
pub enum Login {
    /// User name and password with each request.
    Basic {
        /// Response to `GET /v2/` without credentials.
        ping: Ping,
        /// `WWW-Authenticate` of refused requests.
        challenge: &'static str,
    },
    /// A token from a token server.
    Token(TokenLogin),
}

/// Response to `GET /v2/` without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// 401 with the challenge.
    Challenge,
    /// 200 with this `WWW-Authenticate` header.
    Accepted(&'static str),
}

/// Login by token (distribution, "Token Authentication Specification").
#[derive(Debug)]
pub struct TokenLogin {
    /// Address of the token server.
    pub realm: &'static str,
    /// Name of the registry at the token server.
    pub service: &'static str,
    /// Members of the token server's answer.
    pub answer: &'static [TokenMember],
    /// Actions that a scope may name. A scope with another one is refused with 400.
    pub actions: &'static [&'static str],
    /// Response to a user who wants to pull from a repository that doesn't exist.
    pub missing_repository: TokenResponse,
    /// Response to an anonymous client that wants to pull from a private repository.
    pub anonymous: TokenResponse,
    /// Response to a wrong password.
    pub wrong_password: TokenResponse,
    /// Response to a POST (`OAuth2`).
    pub post: TokenPost,
    /// Response of the registry to a token that lacks the right.
    pub insufficient: Insufficient,
}

/// Member of a token server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenMember {
    /// `token`.
    Token,
    /// `access_token`.
    AccessToken,
    /// An empty `access_token`.
    EmptyAccessToken,
    /// `expires_in`, in seconds.
    ExpiresIn(u64),
    /// `issued_at`.
    IssuedAt,
}

/// Response of a token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenResponse {
    /// A token with the rights.
    Granted,
    /// A token without rights.
    WithoutRights,
    /// An error.
    Refused(StatusCode),
}

/// Response of a token server to a POST (`OAuth2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPost {
    /// Not known: 405.
    Unknown,
    /// An error.
    Refused(StatusCode),
    /// A token for an identity token; this status for a password.
    IdentityToken(StatusCode),
}

/// Response of a registry to a token that lacks the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insufficient {
    /// Status.
    pub status: StatusCode,
    /// `WWW-Authenticate`.
    pub challenge: InsufficientChallenge,
}

/// Challenge to a token that lacks the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsufficientChallenge {
    /// No challenge.
    None,
    /// The usual one.
    Bearer,
    /// The usual one, with `error="insufficient_scope"` (RFC 6750).
    InsufficientScope,
    /// This one, for HTTP Basic, which the registry accepts.
    Basic(&'static str),
}

/// Blobs of a product.
#[derive(Debug)]
pub struct Blobs {
    /// HEAD.
    pub head: HeadBlob,
    /// GET.
    pub get: GetBlob,
}

/// Response to HEAD of a blob that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadBlob {
    /// The registry answers.
    Served,
    /// A redirect to the storage.
    Redirected,
}

/// Response to GET of a blob.
#[derive(Clone, Copy, Debug)]
pub enum GetBlob {
    /// The registry answers.
    Served,
    /// A redirect to the storage, which refuses requests with `Authorization`.
    Redirected {
        /// Status of the redirect.
        status: StatusCode,
        /// Query that signs the address.
        signature: &'static str,
        /// Response of the storage to HEAD.
        head: SignedFor,
    },
}

/// Methods that a signed address is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedFor {
    /// GET only: HEAD is answered 403.
    Get,
    /// GET and HEAD.
    GetAndHead,
}

/// Uploads of a product.
#[derive(Debug)]
pub struct Uploads {
    /// POST with a digest and the whole blob.
    pub single_post: SinglePost,
    /// `Location` of a new session.
    pub session: &'static str,
    /// `Location` after PATCH.
    pub after_patch: &'static str,
    /// Status of PATCH.
    pub patch: StatusCode,
    /// Requests with PATCH in one session.
    pub chunks: Chunks,
    /// Mounts.
    pub mount: Mount,
}

/// Response to a POST with a digest and the whole blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinglePost {
    /// Opens a session; the content is ignored.
    OpensSession,
    /// Stores the blob if its type is `application/octet-stream`, and answers 415 otherwise.
    Stored,
}

/// Requests with PATCH in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// Any number.
    Many,
    /// One; another one is answered 405.
    One,
}

/// Response to a mount of an existing blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Links the blob.
    Linked,
    /// Not known: opens a session, which the specification allows.
    OpensSession,
}

/// Manifests of a product.
#[derive(Debug)]
pub struct Manifests {
    /// Response to a tag that doesn't exist.
    pub missing: Missing,
    /// Response to a read of a repository that doesn't exist, with the right to it. A product that answers
    /// 403 for a missing tag does so here too.
    pub missing_repository: Missing,
    /// Reads of a pushed manifest that are answered 404 before it is visible.
    pub invisible_reads: usize,
    /// Response to a push to an existing tag where tags are immutable, if it is known.
    pub immutable: Option<Missing>,
    /// Additional headers of each response.
    pub headers: &'static [(&'static str, &'static str)],
}

/// Status and error code of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Status.
    pub status: StatusCode,
    /// Error code.
    pub code: &'static str,
}

/// 404 `MANIFEST_UNKNOWN`.
pub const MANIFEST_UNKNOWN: Missing = Missing { status: StatusCode::NOT_FOUND, code: "MANIFEST_UNKNOWN" };
/// 404 `NAME_UNKNOWN`.
pub const NAME_UNKNOWN: Missing = Missing { status: StatusCode::NOT_FOUND, code: "NAME_UNKNOWN" };
/// Lists of tags of a product.
#[derive(Debug)]
pub struct Tags {
    /// Tags in a page of the suite. (The products' own pages have 50 and more.)
    pub page: usize,
    /// `Link` to the next page: `{name}` and `{query}` are replaced.
    pub link: &'static str,
    /// Invalid entries in the list.
    pub extra: ExtraTags,
}

/// Invalid entries in a list of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraTags {
    /// None.
    None,
    /// JSON's null.
    Null,
    /// A digest.
    Digest,
}

/// Response to a request for referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// An index.
    Index,
    /// 404: the product has no such API.
    NotFound,
}

/// Format of a product's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// The distribution specification's.
    Json,
    /// An HTML page.
    Html,
}
