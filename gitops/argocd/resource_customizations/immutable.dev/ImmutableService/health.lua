local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end
local ready = conditions["Ready"]
local stalled = conditions["Stalled"]

if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator to process the latest change" }
end
-- RolledBack is one of its reasons: the service works, but not with what Git asks for.
if stalled ~= nil and stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end
-- Somebody has to act, or a time has to come: nothing is in progress until then.
local waits = { Frozen = true, WaitingForPromotion = true, Paused = true }
if obj.spec.suspend == true or waits[ready.reason] then
  return { status = "Suspended", message = ready.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = ready.message }
