//! One machine as a cluster: objects in a folder, containers as processes under keepers, Services as loopback addresses.

