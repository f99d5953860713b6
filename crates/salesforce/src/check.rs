//! What is wrong with an integration, field by field, before anything is called. What can be seen
//! without looking into a key is said by [`Fields::check`].

pub use domain::settings::Fields;
use domain::settings::{Integration, Invalid};
use secrecy::ExposeSecret as _;

use crate::identity::{self, belongs, private_key};

/// Everything that is wrong, each with its field's name. Nothing of a key is quoted.
pub fn check(integration: &Integration) -> Vec<Invalid> {
    let mut found = check_fields(&integration.fields());
    for (i, key) in integration.more_keys.iter().enumerate() {
        // Left out, it is made from the private key.
        let public = Some(key.jwt_public_key.as_str()).filter(|pem| !pem.trim().is_empty());
        keys(key.jwt_private_key.expose_secret(), public, &mut |field, problem| {
            found.push(Invalid { field: format!("more_keys[{i}].{field}"), problem: problem.to_owned() });
        });
    }
    found
}

/// The same for what is not an integration yet.
pub fn check_fields(fields: &Fields<'_>) -> Vec<Invalid> {
    let mut found = fields.check();
    keys(fields.jwt_private_key, Some(fields.jwt_public_key), &mut |field, problem| {
        found.push(Invalid { field: field.to_owned(), problem: problem.to_owned() });
    });
    found
}

fn keys(private_pem: &str, public_pem: Option<&str>, say: &mut impl FnMut(&str, &str)) {
    let (private, public) = ("jwt_private_key", "jwt_public_key");
    // Its texts begin with the field's name, which stands beside them here.
    let mut tell = |field: &str, error: identity::Error| {
        let text = error.to_string();
        say(field, text.strip_prefix(field).map_or(text.as_str(), str::trim_start));
    };
    let key = private_key(private_pem);
    if let Err(error) = &key {
        tell(private, *error);
    }
    let key = key.ok();
    let Some(pem) = public_pem else { return };
    if pem.trim().is_empty() {
        say(public, "is empty: it is the public half, or the certificate, of jwt_private_key");
    } else if pem.contains("-----BEGIN ") && !pem.contains("-----END ") {
        say(public, "is cut off: its -----END line is missing");
    } else {
        use aws_lc_rs::signature::KeyPair as _;
        // Without a private key there is still to be seen whether it is one at all.
        let half = key.as_ref().map_or(&[][..], |key| key.public_key().as_ref());
        if let Err(error) = belongs(pem, half) {
            tell(public, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use domain::settings::IntegrationKey;

    use super::*;
    use crate::keys::{KeyPair, generate_key_pair};

    static KEY: LazyLock<KeyPair> = LazyLock::new(|| generate_key_pair(2048).unwrap());

    fn fields() -> Fields<'static> {
        Fields {
            instance_url: "https://acme.my.salesforce.com",
            es_developer_name: "Phone_Bridge",
            org_id: "00DRT0000004QhWAAU",
            auth_key_id: "key-1",
            jwt_private_key: KEY.private_pem.expose_secret(),
            jwt_public_key: &KEY.public_pem,
            issuer: "baton",
            messaging_url: "",
        }
    }

    fn problems(fields: &Fields<'_>) -> String {
        check_fields(fields).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_sound_integration_has_nothing_wrong() {
        assert_eq!(check_fields(&fields()), []);
        let text = |key: &str| key.to_owned();
        let settings = serde_json::json!({
            "id": "main", "instance_url": fields().instance_url, "es_developer_name": "Phone_Bridge",
            "org_id": "00DRT0000004QhW", "auth_key_id": "k", "issuer": "baton",
            "jwt_private_key": text(fields().jwt_private_key), "jwt_public_key": text(fields().jwt_public_key),
        });
        let mut integration: Integration = serde_json::from_value(settings).unwrap();
        assert_eq!(check(&integration), []);
        integration.auth_key_id.clear();
        assert_eq!(check(&integration).len(), 1);
        // A key beside it: sound, and mixed up with the first.
        let other = generate_key_pair(2048).unwrap();
        for (public, wrong) in
            [(String::new(), 0), (other.public_pem.clone(), 0), (KEY.public_pem.clone(), 1)]
        {
            integration.more_keys = vec![IntegrationKey {
                auth_key_id: "k2".into(),
                jwt_private_key: other.private_pem.clone(),
                jwt_public_key: public,
                signs_from: None,
            }];
            let found = check(&integration);
            assert_eq!(found.len(), 1 + wrong, "{found:?}");
            assert!(wrong == 0 || found[1].field == "more_keys[0].jwt_public_key");
        }
    }

    #[test]
    fn every_field_has_its_own_words() {
        for (fields, wanted) in [
            (Fields { instance_url: "", ..fields() }, "instance_url: is empty"),
            (
                Fields { instance_url: "http://acme.my.salesforce.com", ..fields() },
                "instance_url: must start with https://",
            ),
            (
                Fields { instance_url: "https://acme.my.salesforce.com/lightning", ..fields() },
                "instance_url: must be a host only: nothing behind or before its name",
            ),
            (
                Fields { instance_url: "https://acme.my.salesforce.com:8443", ..fields() },
                "instance_url: must be a host name, without a port",
            ),
            (
                Fields { instance_url: "https://support.example.com", ..fields() },
                "messaging_url: is needed: instance_url does not end in .my.salesforce.com, so it cannot be derived",
            ),
            (
                Fields { messaging_url: "http://acme.my.salesforce-scrt.com", ..fields() },
                "messaging_url: must start with https://",
            ),
            (
                Fields { es_developer_name: "1st", ..fields() },
                "es_developer_name: begins with a letter: take the deployment's API name, not its label",
            ),
            (
                Fields { es_developer_name: "Phone Bridge", ..fields() },
                "es_developer_name: has letters, digits and underscores only: take the deployment's API name, not its label",
            ),
            (
                Fields { org_id: "00DRT0000004Qh", ..fields() },
                "org_id: an organization id starts with 00D and has 15 or 18 letters and digits (Setup > Company Information)",
            ),
            (
                Fields { auth_key_id: " ", ..fields() },
                "auth_key_id: is empty: it is the kid of the key registered in Salesforce",
            ),
            (
                Fields { jwt_public_key: "", ..fields() },
                "jwt_public_key: is empty: it is the public half, or the certificate, of jwt_private_key",
            ),
            (
                Fields { jwt_public_key: "-----BEGIN PUBLIC KEY-----\nMIIB", ..fields() },
                "jwt_public_key: is cut off: its -----END line is missing",
            ),
            (
                Fields { jwt_private_key: &KEY.private_pem.expose_secret()[..800], ..fields() },
                "jwt_private_key: is cut off: its -----END line is missing",
            ),
            (
                Fields { jwt_private_key: &KEY.public_pem, ..fields() },
                "jwt_private_key: is a public key or a certificate: the private half is needed",
            ),
            (
                Fields { jwt_public_key: &generate_key_pair(2048).unwrap().public_pem, ..fields() },
                "jwt_public_key: does not belong to jwt_private_key",
            ),
        ] {
            assert_eq!(problems(&fields), wanted);
        }
        assert_eq!(problems(&Fields { messaging_url: "http://127.0.0.1:4000", ..fields() }), "");
        assert_eq!(check_fields(&Fields::default()).len(), 7);
    }
}
