local suspended = obj.spec.suspend == true
local stalled = false
local waits = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Stalled" then
      stalled = condition.status == "True"
    end
    if condition.type == "Reconciling" and condition.status == "True" then
      waits = condition.reason == "WaitingForPromotion" or condition.reason == "Paused"
    end
  end
end
local failed = false
if obj.status ~= nil and obj.status.failedRevisions ~= nil then
  for _, revision in ipairs(obj.status.failedRevisions) do
    failed = failed or revision.reason ~= "Rejected"
  end
end

local actions = {}
if suspended then
  actions["resume"] = { ["iconClass"] = "fa fa-fw fa-play" }
else
  actions["suspend"] = { ["iconClass"] = "fa fa-fw fa-pause" }
end
actions["regenerate"] = {
  ["displayName"] = "Regenerate all pods",
  ["iconClass"] = "fa fa-fw fa-redo",
  ["disabled"] = suspended,
}
actions["retry"] = {
  ["displayName"] = "Retry the failed revision",
  ["iconClass"] = "fa fa-fw fa-undo",
  ["disabled"] = suspended or not (stalled and failed),
}
actions["promote"] = {
  ["displayName"] = "Promote the revision that waits",
  ["iconClass"] = "fa fa-fw fa-forward",
  ["disabled"] = suspended or not waits,
}
actions["abort"] = {
  ["displayName"] = "Reject the revision that waits",
  ["iconClass"] = "fa fa-fw fa-ban",
  ["disabled"] = suspended or not waits,
}
return actions
