//! The declaration of a fault beside its message.
//!
//! Always: each variant has one message, and names its values in it.

/// Declares an enum of faults and its `Display`: after each variant stands its message, in which the
/// values have the names of their fields, and the field with its cause, if it has one.
macro_rules! faults {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident $({ $($field:ident: $ty:ty),+ })? $(($value:ident: $only:ty))? => $message:literal
                    $(then $cause:ident)?,
            )+
        }
    ) => {
        $(#[$attribute])*
        pub enum $name {
            $($(#[$doc])* $variant $({ $($field: $ty),+ })? $(($only))?,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$variant $({ $($field),+ })? $(($value))? => {
                        write!(f, $message)?;
                        $(rootlet_base::cause::write_cause(f, &$cause)?;)?
                        Ok(())
                    })+
                }
            }
        }
    };
}

pub(crate) use faults;
