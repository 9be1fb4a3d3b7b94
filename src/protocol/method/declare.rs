//! The declaration of a class: one list of methods and arguments gives structs, the class's enum,
//! ids, names, decoding, encoding and `Debug`.
//!
//! An argument's type is the specification's word, which is also the name of the functions of
//! `codec` that read and write it. `secret` is a `longstr` that `Debug` does not show.

/// Declares a class, see the modules beside this one. A class none of whose methods borrow is
/// declared without the lifetime.
macro_rules! class {
    (
        Method $(<$class_lt:lifetime>)? = $class:literal $class_name:literal;
        $($(#[$doc:meta])* $method:ident $(<$lt:lifetime>)? = $id:literal $name:literal {
            $($(#[$argument_doc:meta])* $argument:ident: $kind:ident,)*
        })*
    ) => {
        use std::fmt;

        use crate::protocol::method::Args;
        use crate::protocol::method::codec::{self, DecodeError, Decoder, Encoder, ReadArgs};
        use crate::protocol::reply::{AmqpError, MethodId};

        /// The class id.
        pub const CLASS: u16 = $class;

        #[doc = concat!("Any method of class `", $class_name, "`.")]
        #[derive(Clone, Copy, PartialEq)]
        pub enum Method $(<$class_lt>)? {
            $($(#[$doc])* $method($method $(<$lt>)?),)*
        }

        impl $(<$class_lt>)? Method $(<$class_lt>)? {
            /// Decodes the arguments of the method with this id.
            #[inline]
            pub(super) fn decode(method: u16, args: &$($class_lt)? [u8]) -> Result<Self, AmqpError> {
                match method {
                    $($id => Ok(Self::$method(ReadArgs::decode(args)?)),)*
                    _ => Err(codec::unknown_method(MethodId::new(CLASS, method))),
                }
            }

            /// Class and method id.
            pub fn id(&self) -> MethodId {
                match self {
                    $(Self::$method(_) => <$method $(<$lt>)? as Args>::ID,)*
                }
            }

            /// The name people know, class and method with a dot between.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$method(_) => <$method $(<$lt>)? as Args>::NAME,)*
                }
            }

            /// Appends the arguments.
            pub(super) fn encode_args(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$method(method) => method.encode_args(out),)*
                }
            }

            /// One of each, with arguments from `source`.
            #[cfg(test)]
            #[allow(unused_variables, reason = "some classes have no arguments")]
            pub(super) fn samples<'s $(: $class_lt)?>(
                source: &mut crate::protocol::method::tests::Source<'s>,
            ) -> Vec<Self> {
                vec![$(Self::$method($method { $($argument: source.$kind(),)* }),)*]
            }
        }

        impl $(<$class_lt>)? fmt::Debug for Method $(<$class_lt>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$method(method) => method.fmt(f),)*
                }
            }
        }

        $(
            method_struct! {
                $(#[$doc])* $method $(<$lt>)? { $($(#[$argument_doc])* $argument: $kind,)* }
            }

            impl $(<$lt>)? Args for $method $(<$lt>)? {
                const ID: MethodId = MethodId::new($class, $id);
                const NAME: &'static str = concat!($class_name, ".", $name);

                #[inline]
                fn encode_args(&self, out: &mut Vec<u8>) {
                    let mut output = Encoder::new(out);
                    $(output.$kind(self.$argument);)*
                    output.flush_bits();
                }
            }

            impl<'i $(: $lt, $lt)?> ReadArgs<'i> for $method $(<$lt>)? {
                #[inline]
                #[allow(unused_variables, reason = "some methods have no arguments")]
                fn read(input: &mut Decoder<'i>) -> Result<Self, DecodeError> {
                    Ok(Self { $($argument: input.$kind()?,)* })
                }
            }

            impl $(<$lt>)? fmt::Debug for $method $(<$lt>)? {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(Self::NAME)
                        $(.field(stringify!($argument), &shown!($kind, self.$argument)))*
                        .finish()
                }
            }
        )*
    };
}

/// The struct of one method.
macro_rules! method_struct {
    ($(#[$doc:meta])* $method:ident {}) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq)]
        pub struct $method;
    };
    (
        $(#[$doc:meta])* $method:ident $(<$lt:lifetime>)? {
            $($(#[$argument_doc:meta])* $argument:ident: $kind:ident,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq)]
        pub struct $method $(<$lt>)? {
            $($(#[$argument_doc])* pub $argument: argument_type!($kind),)+
        }
    };
}

/// The Rust type of an argument.
macro_rules! argument_type {
    (bit) => { bool };
    (octet) => { u8 };
    (short) => { u16 };
    (long) => { u32 };
    (longlong) => { u64 };
    (shortstr) => { &'a str };
    (longstr) => { &'a [u8] };
    (secret) => { &'a [u8] };
    (table) => { crate::protocol::field::TableRef<'a> };
}

/// An argument as `Debug` shows it.
macro_rules! shown {
    (longstr, $value:expr) => {
        codec::Shown::Text($value)
    };
    (secret, $value:expr) => {
        codec::Shown::Secret
    };
    ($kind:ident, $value:expr) => {
        $value
    };
}
