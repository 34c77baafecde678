# OpenBao for docker-compose.yml: one node, storage on a volume, sealed whenever it starts.
# No TLS: it listens on a network of this host that nothing but the worker and the members is in. Elsewhere, use TLS.
storage "raft" {
  path    = "/openbao/file"
  node_id = "openbao"
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}

api_addr     = "http://openbao:8200"
cluster_addr = "http://openbao:8201"
ui           = false
