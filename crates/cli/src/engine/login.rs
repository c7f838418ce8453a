//! What a registry wants to know of its user: the challenge in its refusal, and the answer to it.
//!
//! Always: a secret goes to the registry that it is for, or to the server of tokens that this names,
//! and never over plain HTTP unless the user insists on that; it is in no command line.
//!
//! Source: the token authentication of the distribution project, by GET with a password and by OAuth 2 with
//! an identity token; RFC 7617 and 6750; docker's config.json.

use std::time::Duration;

use anyhow::Result;
use data_encoding::BASE64;
use serde::Deserialize;

use super::credential::{Credential, Hidden, Secret};
use super::curl::{Answer, Fault, Request};
use super::{Target, WebArgs};

/// The longest answer of a server of tokens in bytes.
const TOKEN_BYTES_MAX: u32 = 1 << 16;
/// How long a token lasts that does not say so, in seconds.
const TOKEN_S: u64 = 60;

/// Who asks for a token, as a server of tokens notes it.
const CLIENT: &str = "rootlet";

/// A setting of curl's that is secret.
type Setting = (&'static str, String);

/// The answer to a registry that wants to know who asks.
#[derive(Clone, Debug)]
pub enum Login {
    /// A name and a password.
    Basic(Credential, Hidden),
    /// A token, which a server gives to who has this, or to everybody.
    Bearer(Realm, Option<Credential>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer(Realm),
}

/// A server of tokens, and the words of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    url: String,
    service: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Login {
    /// Returns the answer to the refusal of `registry`: to its challenge, with the secret that is kept
    /// for it, if there is one.
    pub fn to(refusal: &Answer, registry: &str) -> Result<Result<Self, Fault>> {
        let challenges = refusal.headers("www-authenticate").filter_map(Challenge::parse);
        let Some(challenge) = challenges.last() else {
            let why = "the registry answers 401, and does not say how it wants to be told who asks";
            return Ok(Err(Fault::Unfit(why.into())));
        };
        Ok(Credential::find(registry)?.and_then(|credential| match (challenge, credential) {
            (Challenge::Bearer(realm), credential) => Ok(Self::Bearer(realm, credential)),
            (Challenge::Basic, None) => Err(Fault::Unfit(needed(registry))),
            (Challenge::Basic, Some(credential)) => match &credential.secret {
                Secret::Password(pair) => {
                    let pair = pair.clone();
                    Ok(Self::Basic(credential, pair))
                }
                Secret::IdentityToken(_) => Err(Fault::Unfit(format!(
                    "{} has an identity token, and the registry takes a name and a password alone: \
                     `docker login {registry}` with these",
                    credential.place
                ))),
            },
        }))
    }

    /// Returns what a request needs, and for how long it is good. `is_plain` allows plain HTTP.
    pub fn secret(
        &self,
        is_plain: bool,
        args: &WebArgs,
    ) -> Result<Result<(Setting, Option<Duration>), Fault>> {
        let (realm, credential) = match self {
            Self::Basic(_, pair) => return Ok(Ok((basic(pair), None))),
            Self::Bearer(realm, credential) => (realm, credential.as_ref()),
        };
        let (secrets, more) = realm.question(credential.map(|credential| &credential.secret));
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let target = Target { url: realm.url.clone(), secrets, is_plain };
        let max = Some(TOKEN_BYTES_MAX);
        let asked = Request { follows: false, body_bytes_max: max, more: &more };
        Ok(asked.send(&target, args)?.and_then(|answer| {
            realm.token(&answer, credential).map_err(|fault| match fault {
                Fault::Unfit(why) => Fault::Unfit(format!("{}: {why}", realm.url)),
                fault => fault,
            })
        }))
    }

    /// Returns what to do where the answer was not enough.
    pub fn advice(&self, registry: &str) -> String {
        match self {
            Self::Basic(credential, _) | Self::Bearer(_, Some(credential)) => {
                format!("it refuses the {credential}")
            }
            Self::Bearer(_, None) => needed(registry),
        }
    }
}

impl Realm {
    /// Returns what the server of tokens is asked with: secret settings of curl's, and arguments.
    fn question(&self, secret: Option<&Secret>) -> (Vec<Setting>, Vec<String>) {
        let fields = [("service", &self.service), ("scope", &self.scope)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let mut more = Vec::new();
        let mut add = |field: String| more.extend(["--data-urlencode".into(), field]);
        fields.for_each(|(name, value)| add(format!("{name}={value}")));
        let secrets = match secret {
            // A question of OAuth 2, by POST: what is secret is not a part of a URL.
            Some(Secret::IdentityToken(Hidden(token))) => {
                add("grant_type=refresh_token".into());
                add(format!("client_id={CLIENT}"));
                return (vec![("data-urlencode", format!("refresh_token={token}"))], more);
            }
            Some(Secret::Password(pair)) => vec![basic(pair)],
            None => Vec::new(),
        };
        more.push("--get".into());
        (secrets, more)
    }

    /// Takes the token out of the server's answer.
    fn token(
        &self,
        answer: &Answer,
        credential: Option<&Credential>,
    ) -> Result<(Setting, Option<Duration>), Fault> {
        let unfit = |why: String| Err(Fault::Unfit(why));
        if let (status @ (400 | 401 | 403), Some(credential)) = (answer.status, credential) {
            return unfit(format!("it answers {status}: it refuses the {credential}"));
        }
        answer.has_status(200)?;
        let token: Result<Token, _> = serde_json::from_slice(&answer.body);
        let Ok(Token { token, access_token, expires_in }) = token else {
            return unfit("its answer is not a token".into());
        };
        let token = token.or(access_token);
        let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        let Some(token) = token else { return unfit("its answer has no token".into()) };
        let lasts = Duration::from_secs(expires_in.unwrap_or(TOKEN_S).clamp(1, 86400));
        Ok((("header", format!("Authorization: Bearer {token}")), Some(lasts)))
    }
}

/// Returns the header with a name and a password.
fn basic(Hidden(pair): &Hidden) -> Setting {
    ("header", format!("Authorization: Basic {}", BASE64.encode(pair.as_bytes())))
}

fn needed(registry: &str) -> String {
    format!(
        "the registry wants a name and a password: `docker login {registry}` puts them into \
         ~/.docker/config.json, where they are looked for"
    )
}

impl Challenge {
    /// Reads a challenge; `None` for a kind that nobody here knows.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        let parameters = parameters(rest);
        let value = |name: &str| {
            let mut all = parameters.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
            all.next().map(|(_, value)| value.clone())
        };
        let url = value("realm").filter(|_| kind.eq_ignore_ascii_case("bearer"))?;
        Some(Self::Bearer(Realm { url, service: value("service"), scope: value("scope") }))
    }
}

/// Takes `a="b",c=d` apart; commas and escapes in quotes are part of the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (mut part, mut is_quoted) = (String::new(), false);
    let mut letters = text.chars();
    loop {
        let letter = letters.next();
        match letter {
            Some('"') => is_quoted = !is_quoted,
            Some('\\') if is_quoted => part.extend(letters.next()),
            Some(letter) if is_quoted || letter != ',' => part.push(letter),
            Some(_) | None => {
                let pair = part.split_once('=');
                let trimmed = |text: &str| text.trim().to_string();
                all.extend(pair.map(|(name, value)| (trimmed(name), trimmed(value))));
                part.clear();
            }
        }
        if letter.is_none() {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_tells_who_gives_tokens() {
        let text = "Bearer realm=\"https://a/t\", service=\"r\",scope=\"repository:a/b:pull,push\"";
        let bearer = Challenge::Bearer(Realm {
            url: "https://a/t".into(),
            service: Some("r".into()),
            scope: Some("repository:a/b:pull,push".into()),
        });
        assert_eq!(Challenge::parse(text), Some(bearer));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest realm=\"x\""), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
    }
}
