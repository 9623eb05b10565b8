"data_dir" = "/opt/nomad"
region = "eu\u002dwest"
Server { Enabled = "1", Bootstrap_Expect = 0x3, heartbeat_grace = "1m30s" }
http_api_response_headers {
  "X-Motto" = "a \"quoted\" text"
}
