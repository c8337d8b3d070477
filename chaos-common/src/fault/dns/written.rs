//! Faults of names as they are written.

/// A type `Raw` of the fields that questions have, and those of one kind of fault.
macro_rules! written {
    ($($(#[$attribute:meta])* $field:ident: $kind:ty),* $(,)?) => {
        /// As it is written.
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Raw {
            names: Vec<crate::value::DnsPattern>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            except: Vec<crate::value::DnsPattern>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            types: Vec<crate::value::DnsType>,
            #[serde(default, skip_serializing_if = "crate::value::Remotes::is_empty")]
            servers: crate::value::Remotes,
            #[serde(default, skip_serializing_if = "crate::value::PortRanges::is_empty")]
            ports: crate::value::PortRanges,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            tcp: Option<crate::fault::DnsTcp>,
            $($(#[$attribute])* $field: $kind,)*
        }

        impl Raw {
            fn new(questions: Questions, ($($field,)*): ($($kind,)*)) -> Self {
                let Questions { names, except, types, servers, ports, tcp } = questions;
                let tcp = (tcp != crate::fault::DnsTcp::default()).then_some(tcp);
                Self { names, except, types, servers, ports, tcp, $($field),* }
            }

            /// The questions, and the rest.
            fn parts(self) -> (Questions, ($($kind,)*)) {
                let Self { names, except, types, servers, ports, tcp, $($field),* } = self;
                let tcp = tcp.unwrap_or_default();
                (Questions { names, except, types, servers, ports, tcp }, ($($field,)*))
            }
        }
    };
}
pub(in crate::fault) use written;
