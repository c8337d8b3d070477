//! Engine `net`: from a packet to what its rules want of it.
//!
//! [`filter`] says whether a rule is about a packet, [`flow`] what is known of its connection, [`judge`] asks
//! all of its rules, and [`act`] notes what each wants. That is [carried out](carry_out) at last; what is to wait does
//! so in a [`hop`], and what is to be answered is turned round by [`reject`]. What a name server is asked is told by
//! [`question`], and answered by [`respond`] with [`records`], if with any;
//! what becomes of connections to it, by [`stream`].
//! What goes elsewhere before there is a packet is known to [`redirect`].

pub mod act;
pub mod attempt;
pub mod call;
pub mod carry_out;
mod checksum;
pub mod corrupt;
mod edit;
pub mod filter;
pub mod flow;
pub mod hook;
pub mod hop;
pub mod instance;
pub mod judge;
pub mod kernel;
pub mod peer;
pub mod question;
mod records;
pub mod redirect;
pub mod reject;
pub mod report;
mod respond;
pub mod socket;
mod stream;
pub mod tables;
