-- The owner reference shows the action below its service, and removes it with the service.
local action = {
  apiVersion = obj.apiVersion,
  kind = "ImmutableAction",
  metadata = {
    generateName = obj.metadata.name .. "-promote-",
    namespace = obj.metadata.namespace,
    ownerReferences = {
      {
        apiVersion = obj.apiVersion,
        kind = obj.kind,
        name = obj.metadata.name,
        uid = obj.metadata.uid,
      },
    },
  },
  spec = {
    type = "Promote",
    service = obj.metadata.name,
    reason = "requested in Argo CD",
  },
}
return { { operation = "create", resource = action } }
